import { API_ROUTES, type ApiRoute } from "./routes.ts";
import { ref, SCHEMAS } from "./schemas.ts";

/** The OpenAPI 3.1 document of the control API, made from the table that is served. */
export function openApiDocument(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of API_ROUTES) {
    paths[route.path] ??= {};
    Object.assign(paths[route.path] ?? {}, { [route.method]: operationOf(route) });
  }
  return {
    openapi: "3.1.0",
    info: { title: "Selvedge control API", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    paths,
    components: { schemas: SCHEMAS, securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    security: [{ token: [] }, {}],
  };
}

function operationOf(route: ApiRoute): Record<string, unknown> {
  const variables = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const query = Object.entries(route.query ?? {}).map(([name, { schema, description }]) => ({
    name,
    in: "query",
    schema,
    description,
  }));
  const headers = Object.entries(route.headers ?? {}).map(([name, description]) => ({
    name,
    in: "header",
    schema: { type: "string" },
    description,
  }));
  const body = route.body === undefined ? {} : { requestBody: { required: true, content: contentOf(route.body) } };
  return {
    operationId: route.id,
    summary: route.summary,
    parameters: [...variables, ...query, ...headers],
    ...body,
    responses: Object.fromEntries(
      Object.entries(answersOf(route)).map(([status, answer]) => [status, answerOf(Number(status), answer)]),
    ),
    ...(route.open ? { security: [{}] } : {}),
  };
}

/** Every guarded operation may also be refused, and fail. */
export function answersOf(route: ApiRoute): ApiRoute["answers"] {
  const refusals = { 401: ref("Problem"), 403: ref("Problem"), 421: ref("Problem") };
  const failures = { 500: ref("Problem"), 503: ref("Problem") };
  return route.open ? route.answers : { ...route.answers, ...refusals, ...failures };
}

function answerOf(status: number, answer: object | string): Record<string, unknown> {
  const description = status < 300 ? "Done" : status < 500 ? "Refused" : "Failed";
  if (typeof answer === "string") return { description, content: { [answer]: { schema: { type: "string" } } } };
  return { description, content: { [status < 300 ? "application/json" : "application/problem+json"]: { schema: answer } } };
}

function contentOf(body: Readonly<Record<string, object>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).map(([type, schema]) => [type, { schema }]));
}
