export function obtainEnvoyFilters(print: (line: string) => void): Promise<string>;
