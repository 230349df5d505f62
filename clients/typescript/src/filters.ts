/** Filters and sort orders as callers write them. */

import type { ContactMethodType } from "./records.js";

/** A condition that matches any of several values; made by `oneOf`. */
export class OneOf<T> {
  readonly values: readonly T[];

  constructor(values: readonly T[]) {
    this.values = values;
  }
}

/** A condition that matches part of a value; made by `contains`. */
export class Contains {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Returns the condition that a field has one of these values, at most 250. */
export function oneOf<const T extends string>(...values: readonly [T, ...T[]]): OneOf<T> {
  return new OneOf(values);
}

/**
 * Returns the condition that a value contains this text, which is literal and case-sensitive. Digits are found in
 * numbers regardless of punctuation, and texts without blanks in emails regardless of case.
 */
export function contains(text: string): Contains {
  return new Contains(text);
}

type Condition<T extends string> = T | readonly T[] | OneOf<T>;

/**
 * Conditions on records, all of which must hold. A field with several values matches any of them. A field that is
 * undefined or null is refused, since it would match everything.
 */
export interface Filter {
  readonly id?: Condition<string>;
  readonly clientId?: Condition<string>;
  readonly type?: Condition<ContactMethodType>;
  readonly value?: Condition<string> | Contains;
  readonly label?: Condition<string>;
  readonly externalId?: Condition<string>;
  readonly isPrimary?: boolean;
  readonly isVerified?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly createdAtOrAfter?: Date;
  readonly createdBefore?: Date;
  readonly updatedAtOrAfter?: Date;
  readonly updatedBefore?: Date;
}

/** A sort field; a leading `-` sorts latest first. */
export type SortKey = "createdAt" | "-createdAt" | "updatedAt" | "-updatedAt";
export type Sort = SortKey | readonly SortKey[];
