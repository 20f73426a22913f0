/** Name of the custom section that holds a filter's metadata (docs/filters.md) as JSON. */
export const METADATA_SECTION = "selvedge.filter";
