/** Where obtained programs are kept. */
export function cacheFolder(): string;
/** Paths of what is there already; obtains nothing. */
export function findNats(): Promise<{ readonly server: string | undefined; readonly cli: string | undefined }>;
/** Finds or obtains both; never throws. What could not be had is undefined, and `reasons` says why. */
export function obtainNats(options?: {
  readonly print?: (line: string) => void;
  readonly cli?: boolean;
}): Promise<{ readonly server: string | undefined; readonly cli: string | undefined; readonly reasons: readonly string[] }>;
