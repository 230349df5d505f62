/** The TypeScript client of contactsvc. */

export type { ContactMethods } from "./contact_methods.js";
export {
  APIError,
  ConflictError,
  ContactsError,
  type ErrorDetails,
  ForbiddenError,
  type Issue,
  NetworkError,
  NotFoundError,
  RateLimitError,
  ServerError,
  type StatusCode,
  TimeoutError,
  UnauthorizedError,
  ValidationError,
} from "./errors.js";
export { contains, type Contains, type Filter, oneOf, type OneOf, type Sort, type SortKey } from "./filters.js";
export type {
  ContactMethodChanges,
  ContactMethodUpdate,
  ContactMethodUpsert,
  ContactMethodUpsertFields,
  NewContactMethod,
  SyncDelete,
  SyncItem,
  SyncWrite,
} from "./items.js";
export { collectAll, collectUpTo, getFirst } from "./iteration.js";
export type {
  BatchOptions,
  CallOptions,
  DeleteOptions,
  IterateOptions,
  ListByClientOptions,
  ListQuery,
  MetadataOptions,
  SetVerificationOptions,
  StartVerificationOptions,
  SyncOptions,
  WriteOptions,
} from "./options.js";
export type {
  AtomicBatch,
  CheckedVerification,
  ContactMethod,
  ContactMethodType,
  DeleteResult,
  FoundMany,
  Page,
  Pagination,
  PartialBatch,
  StartedVerification,
  SyncResult,
  UpsertAction,
  UpsertedContactMethod,
  VerificationResult,
  WrittenContactMethod,
} from "./records.js";
export { ContactsSDK } from "./sdk.js";
export type { ContactsSDKOptions, TlsOptions } from "./settings.js";
