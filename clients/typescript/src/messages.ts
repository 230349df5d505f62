/** Messages from callers' objects, checked against the descriptors; protobuf-es checks neither names nor types. */

import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";

import { invalid } from "./errors.js";

/** What `null` means for a field: clears it, is the same as an omitted field, or is refused. */
export type NullRule = "clears" | "omitted" | "refused";

const CHANGE_NULLS: Readonly<Record<string, NullRule>> = { label: "clears", externalId: "clears" };
const CREATE_NULLS: Readonly<Record<string, NullRule>> = {
  label: "omitted",
  externalId: "omitted",
  metadata: "omitted",
};

const INT32_MAX = 2 ** 31 - 1;

/** How to build a message from an object. */
export interface BuildRules {
  /** The path of the message in the request, such as `requests[3]`; absent for the request itself. */
  readonly where?: string;
  /** Fields of the message that are not the caller's; `requestId` by default. */
  readonly reserved?: readonly string[];
  /** Converts the names of enum values; unknown ones throw by default. */
  readonly enums?: EnumNames;
  /** What null means, by field; refused by default. */
  readonly nulls?: Readonly<Record<string, NullRule>>;
}

/**
 * Returns a message. Undefined is the same as an omitted field.
 *
 * @throws ValidationError, without the value, for an unknown field or one of the wrong type.
 */
export function buildMessage<D extends DescMessage>(
  schema: D,
  fields: unknown,
  { where = "", reserved = ["requestId"], enums = enumNumber, nulls = {} }: BuildRules = {},
): MessageShape<D> {
  if (!isPlainObject(fields)) {
    throw invalid(where, "must be an object");
  }
  const init: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const path = joined(where, name);
    const field = fieldNamed(schema, name);
    if (field === undefined || reserved.includes(name)) {
      const names = schema.fields.map(({ localName }) => localName).filter((known) => !reserved.includes(known));
      throw invalid(path, `is not a field here${suggestion(name, names)}`);
    }
    if (value === null) {
      const rule = nulls[name] ?? "refused";
      if (rule === "refused") {
        throw invalid(path, "cannot be null; omit the field to leave it unchanged");
      }
      if (rule === "clears") {
        init[name] = "";
      }
    } else if (value !== undefined) {
      init[name] = fieldValue(field, path, value, enums);
    }
  }
  return create(schema, init as MessageInitShape<D>);
}

/** Returns the message of a create: null is the same as an omitted field. */
export function buildNew<D extends DescMessage>(schema: D, fields: unknown, rules: BuildRules = {}): MessageShape<D> {
  return buildMessage(schema, fields, { ...rules, nulls: CREATE_NULLS });
}

/**
 * Returns the message of an update, an upsert or a sync item: null clears, and a metadata value of null removes its
 * key.
 */
export function buildChange<D extends DescMessage>(
  schema: D,
  fields: unknown,
  rules: BuildRules = {},
): MessageShape<D> {
  let changed = fields;
  if (isPlainObject(fields)) {
    if (fields["metadata"] === null && fieldNamed(schema, "replaceMetadata")) {
      changed = { ...fields, metadata: {}, replaceMetadata: true };
    } else if (isPlainObject(fields["metadata"])) {
      const pairs = Object.entries(fields["metadata"]).map(([key, value]) => [key, value ?? ""]);
      changed = { ...fields, metadata: Object.fromEntries(pairs) };
    }
  }
  return buildMessage(schema, changed, { ...rules, nulls: CHANGE_NULLS });
}

/** Converts the name of an enum value, such as "email", to its number. */
export type EnumNames = (values: DescEnum, path: string, name: unknown) => number;

/**
 * Returns the number of an enum value by its name without the prefix, in camel case: "email", "promoteNext".
 *
 * @throws ValidationError for an unknown name.
 */
export function enumNumber(values: DescEnum, path: string, name: unknown): number {
  const found = values.values.find((value) => value.number !== 0 && enumName(value.localName) === name);
  if (found === undefined) {
    const known = values.values.filter((value) => value.number !== 0).map((value) => enumName(value.localName));
    throw invalid(path, `must be one of ${known.join(", ")}`);
  }
  return found.number;
}

/**
 * As `enumNumber`, but 0 for an unknown name: the service then reports it together with the other faults of a batch.
 */
export function lenientEnumNumber(values: DescEnum, _path: string, name: unknown): number {
  return values.values.find((value) => value.number !== 0 && enumName(value.localName) === name)?.number ?? 0;
}

/** Returns the name of an enum value as callers write it, from that in the proto without the prefix: "PROMOTE_NEXT". */
export function enumName(name: string): string {
  return name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns ", did you mean …?" if one of the names is spelled alike, and otherwise nothing. */
export function suggestion(name: string, names: readonly string[]): string {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z]|s$/g, "");
  const near = names.find((candidate) => plain(candidate) === plain(name));
  return near === undefined ? "" : `; did you mean ${near}?`;
}

/** Returns the entries of a list; throws ValidationError if it is a string or cannot be iterated. */
export function listOf(path: string, items: unknown): unknown[] {
  if (typeof items !== "object" || items === null || !(Symbol.iterator in items)) {
    throw invalid(path, "must be a list");
  }
  return [...(items as Iterable<unknown>)];
}

/** Returns whether a value is an object with named fields, and neither a list nor of a built-in class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === "[object Object]";
}

/** Returns the path of a field of a message at a path. */
export function joined(where: string, name: string): string {
  return where ? `${where}.${name}` : name;
}

/**
 * Returns the value of one field as it stands in the message, or of one entry if the field is a list.
 *
 * @throws ValidationError with this path if the value has the wrong type.
 */
export function checkedField(schema: DescMessage, name: string, path: string, value: unknown): unknown {
  const field = fieldNamed(schema, name);
  if (field === undefined) {
    throw new TypeError(`${schema.typeName} has no field ${name}`);
  }
  return field.fieldKind === "list"
    ? entryValue(field, path, value, enumNumber)
    : fieldValue(field, path, value, enumNumber);
}

function fieldNamed(schema: DescMessage, name: string): DescField | undefined {
  return schema.fields.find((field) => field.localName === name);
}

function fieldValue(field: DescField, path: string, value: unknown, enums: EnumNames): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return scalarValue(field.scalar, path, value);
    case "enum":
      return enums(field.enum, path, value);
    case "message":
      return isPlainObject(value) && "$typeName" in value ? value : timestamp(path, value);
    case "list":
      return listOf(path, value).map((entry, index) => entryValue(field, `${path}[${index}]`, entry, enums));
    case "map":
      if (!isPlainObject(value)) {
        throw invalid(path, "must be an object");
      }
      // Checked under the path of its key, which is no contact value.
      return Object.fromEntries(
        Object.entries(value).map(([key, pair]) => [key, scalarValue(ScalarType.STRING, `${path}[${key}]`, pair)]),
      );
  }
}

function entryValue(field: DescField & { fieldKind: "list" }, path: string, entry: unknown, enums: EnumNames): unknown {
  switch (field.listKind) {
    case "scalar":
      return scalarValue(field.scalar, path, entry);
    case "enum":
      return enums(field.enum, path, entry);
    case "message":
      // Built by buildMessage before.
      return entry;
  }
}

function scalarValue(type: ScalarType, path: string, value: unknown): string | boolean | number {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value !== "string") {
        throw invalid(path, "must be a string");
      }
      if (!value.isWellFormed()) {
        throw invalid(path, "must not contain lone surrogates");
      }
      return value;
    case ScalarType.BOOL:
      if (typeof value !== "boolean") {
        throw invalid(path, "must be true or false");
      }
      return value;
    case ScalarType.INT32:
      if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) > INT32_MAX) {
        throw invalid(path, "must be an integer");
      }
      return value;
    default:
      throw new TypeError(`${path}: the client does not support fields of scalar type ${type}`);
  }
}

function timestamp(path: string, value: unknown) {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) {
    throw invalid(path, "must be a valid Date");
  }
  return timestampFromDate(value);
}
