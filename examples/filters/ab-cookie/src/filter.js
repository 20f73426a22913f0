import { defineFilter } from "@selvedge/filter";
import { chooseVariant, readCookie } from "./choose.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9-]{0,39}$/;

export const { configuration, heads } = defineFilter({
  configure({ experiment, variants, days = 30 }) {
    if (typeof experiment !== "string" || !NAME.test(experiment)) throw "settings /experiment: letters, digits and dashes";
    if (typeof variants !== "object" || variants === null) throw "settings /variants: must be weights by name";
    const list = Object.entries(variants);
    for (const [name, weight] of list) {
      if (!NAME.test(name)) throw `settings /variants/${name}: letters, digits and dashes`;
      if (!Number.isInteger(weight) || weight < 0) throw `settings /variants/${name}: must be a whole number, 0 or more`;
    }
    const total = list.reduce((sum, [, weight]) => sum + weight, 0);
    if (total === 0) throw "settings /variants: one needs a weight above 0";
    if (!Number.isInteger(days) || days < 1) throw "settings /days: must be 1 or more";
    return { experiment, variants: list, total, cookie: `ab-${experiment}`, maxAge: days * 86_400 };
  },

  createExchange: () => ({ variant: "", isNew: false }),

  onRequestHead(request, { settings, state }) {
    const known = readCookie(request.headerValues("cookie"), settings.cookie);
    const isRunning = settings.variants.some(([name, weight]) => name === known && weight > 0);
    // The id of a request is random; with the experiment's name two experiments do not choose alike.
    const id = request.attribute(["request", "id"]) ?? "";
    state.variant = isRunning ? known : chooseVariant(settings, `${settings.experiment} ${id}`);
    state.isNew = !isRunning;
    request.setHeader("x-variant", state.variant);
  },

  onResponseHead(response, { settings, state }) {
    // What a cache keeps for one visitor is not for all.
    response.addHeader("vary", "cookie");
    if (!state.isNew) return;
    const { cookie, maxAge } = settings;
    response.addHeader("set-cookie", `${cookie}=${state.variant}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax`);
  },
});
