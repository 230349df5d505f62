/** Functions over iterables such as that of `iterate`. */

/** Returns all items, without a limit on memory. */
export function collectAll<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  return collect(items, Infinity);
}

/**
 * Returns the first `n` items; no further item is consumed.
 *
 * @throws RangeError if `n` is negative or not a number.
 */
export async function collectUpTo<T>(items: AsyncIterable<T> | Iterable<T>, n: number): Promise<T[]> {
  if (!(n >= 0)) {
    throw new RangeError("n must be a number that is not negative");
  }
  return collect(items, n);
}

/** Returns the first item, or undefined if there is none. */
export async function getFirst<T>(items: AsyncIterable<T> | Iterable<T>): Promise<T | undefined> {
  return (await collect(items, 1))[0];
}

async function collect<T>(items: AsyncIterable<T> | Iterable<T>, n: number): Promise<T[]> {
  const collected: T[] = [];
  if (n === 0) {
    return collected;
  }
  for await (const item of items) {
    collected.push(item);
    if (collected.length >= n) {
      break;
    }
  }
  return collected;
}
