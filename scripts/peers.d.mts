/** Path of the real Envoy: `SELVEDGE_ENVOY`, on PATH, in the cache; undefined: none. */
export function findEnvoy(): string | undefined;
/** Finds it or installs it into the cache folder. */
export function obtainEnvoy(print: (line: string) => void): Promise<string | undefined>;
/** Debian packages by the program that each brings; what is still missing afterwards. */
export function obtainDebian(wanted: Readonly<Record<string, string>>, print: (line: string) => void): Promise<string[]>;
/** What builds container images: buildah, debootstrap, crun. True: all of it is there, and we are root. */
export function obtainBuilder(print: (line: string) => void): Promise<boolean>;
