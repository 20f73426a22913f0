/**
 * The few functions of the metadata proposal (https://rbuckton.github.io/reflect-metadata/) that @peculiar/x509's dependency
 * tsyringe wants to find when it is loaded. Import this before it.
 */
type Metadata = Map<unknown, Map<unknown, unknown>>;

const store = new WeakMap<object, Metadata>();

function ownMetadata(key: unknown, target: object, property?: unknown): unknown {
  return store.get(target)?.get(property)?.get(key);
}

function defineMetadata(key: unknown, value: unknown, target: object, property?: unknown): void {
  const ofTarget: Metadata = store.get(target) ?? new Map();
  const ofProperty = ofTarget.get(property) ?? new Map<unknown, unknown>();
  ofProperty.set(key, value);
  ofTarget.set(property, ofProperty);
  store.set(target, ofTarget);
}

function inheritedMetadata(key: unknown, target: object, property?: unknown): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const value = ownMetadata(key, at, property);
    if (value !== undefined) return value;
  }
  return undefined;
}

if (!("getMetadata" in Reflect)) {
  Object.assign(Reflect, { defineMetadata, getMetadata: inheritedMetadata, getOwnMetadata: ownMetadata });
}
