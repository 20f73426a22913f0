/**
 * Shared data and shared queues of one process. Workers are processes, so each has its own: what must be exact across
 * workers uses the counters in shared memory (foreign function `selvedge.rate_limit`).
 */
export class SharedState {}
