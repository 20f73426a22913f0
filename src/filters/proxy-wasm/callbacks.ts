/** A function that the guest exports. What it answers is not trusted to be of the right type. */
export type GuestCallback = (...args: number[]) => unknown;

/** The callbacks a guest exports; undefined: not exported, so not called. */
export interface GuestCallbacks {
  readonly contextCreate: GuestCallback | undefined;
  readonly requestHeaders: GuestCallback | undefined;
  readonly requestBody: GuestCallback | undefined;
  readonly requestTrailers: GuestCallback | undefined;
  readonly responseHeaders: GuestCallback | undefined;
  readonly responseBody: GuestCallback | undefined;
  readonly responseTrailers: GuestCallback | undefined;
  readonly newConnection: GuestCallback | undefined;
  readonly downstreamData: GuestCallback | undefined;
  readonly upstreamData: GuestCallback | undefined;
  readonly downstreamClose: GuestCallback | undefined;
  readonly upstreamClose: GuestCallback | undefined;
  readonly httpCallResponse: GuestCallback | undefined;
  readonly queueReady: GuestCallback | undefined;
  readonly tick: GuestCallback | undefined;
  readonly done: GuestCallback | undefined;
  readonly log: GuestCallback | undefined;
  readonly contextDelete: GuestCallback | undefined;
}

/** Before its exports are known. */
export const NO_CALLBACKS: GuestCallbacks = {
  contextCreate: undefined,
  requestHeaders: undefined,
  requestBody: undefined,
  requestTrailers: undefined,
  responseHeaders: undefined,
  responseBody: undefined,
  responseTrailers: undefined,
  newConnection: undefined,
  downstreamData: undefined,
  upstreamData: undefined,
  downstreamClose: undefined,
  upstreamClose: undefined,
  httpCallResponse: undefined,
  queueReady: undefined,
  tick: undefined,
  done: undefined,
  log: undefined,
  contextDelete: undefined,
};
