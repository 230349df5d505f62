/** The messages of filters and sort orders. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { invalid } from "./errors.js";
import { Contains, type Filter, OneOf, type Sort } from "./filters.js";
import {
  type ContactMethodFilter,
  ContactMethodFilterSchema,
  type ContactMethodSort,
  ContactMethodSortField,
  ContactMethodSortSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { checkedField, isPlainObject, joined, suggestion } from "./messages.js";

// Filter fields with several values -> their names in the proto.
const LISTS = new Map([
  ["id", "ids"],
  ["clientId", "clientIds"],
  ["type", "types"],
  ["value", "values"],
  ["label", "labels"],
  ["externalId", "externalIds"],
]);
const SINGLES: ReadonlySet<string> = new Set([
  "isPrimary",
  "isVerified",
  "metadata",
  "createdAtOrAfter",
  "createdBefore",
  "updatedAtOrAfter",
  "updatedBefore",
]);
const SORT_FIELDS = new Map([
  ["createdAt", ContactMethodSortField.CREATED_AT],
  ["updatedAt", ContactMethodSortField.UPDATED_AT],
]);

/**
 * Returns the message of a filter; undefined matches all.
 *
 * @throws ValidationError for an invalid condition.
 */
export function filterMessage(filter: Filter | undefined): ContactMethodFilter | undefined {
  if (filter === undefined) {
    return undefined;
  }
  if (!isPlainObject(filter as unknown)) {
    throw invalid("filter", "must be an object");
  }
  const fields: Record<string, unknown> = {};
  for (const [name, wanted] of Object.entries(filter)) {
    const path = joined("filter", name);
    const list = LISTS.get(name);
    if (list === undefined && !SINGLES.has(name)) {
      throw invalid(path, `is not a filter field${suggestion(name, [...LISTS.keys(), ...SINGLES])}`);
    }
    if (wanted === undefined || wanted === null) {
      throw invalid(path, `is ${wanted}; omit the field to match all records`);
    }
    if (wanted instanceof Contains) {
      if (name !== "value") {
        throw invalid(path, "does not support contains(); only value does");
      }
      fields["valueContains"] = checkedField(ContactMethodFilterSchema, "valueContains", path, wanted.text);
    } else if (list === undefined) {
      fields[name] = checkedField(ContactMethodFilterSchema, name, path, wanted);
    } else {
      fields[list] = valuesOf(path, wanted).map((value) => checkedField(ContactMethodFilterSchema, list, path, value));
    }
  }
  return create(ContactMethodFilterSchema, fields as MessageInitShape<typeof ContactMethodFilterSchema>);
}

/** Returns the messages of a sort order. */
export function sortMessages(sort: Sort | undefined): ContactMethodSort[] {
  const keys: readonly unknown[] = sort === undefined ? [] : Array.isArray(sort) ? sort : [sort];
  return keys.map((key) => {
    const field = typeof key === "string" ? SORT_FIELDS.get(key.replace(/^-/, "")) : undefined;
    if (field === undefined) {
      throw invalid("sort", "must be createdAt or updatedAt, with a leading - for latest first");
    }
    return create(ContactMethodSortSchema, { field, descending: String(key).startsWith("-") });
  });
}

function valuesOf(path: string, wanted: unknown): unknown[] {
  const values = wanted instanceof OneOf ? [...wanted.values] : Array.isArray(wanted) ? [...wanted] : [wanted];
  if (values.length === 0) {
    // The service reads an empty list as no condition; the caller means that nothing matches.
    throw invalid(path, "must have at least one value");
  }
  return values;
}
