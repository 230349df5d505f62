/** The requests of lists, and the pages in their responses. */

import { create } from "@bufbuild/protobuf";

import { invalid } from "./errors.js";
import type { Filter, Sort } from "./filters.js";
import {
  type ContactMethod as ContactMethodMessage,
  ContactMethodsService,
  ListClientContactMethodsRequestSchema,
  ListContactMethodsRequestSchema,
  StreamContactMethodsRequestSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { buildMessage, checkedField, isPlainObject, suggestion } from "./messages.js";
import { type Operation, operation } from "./operations.js";
import type { ListByClientOptions, ListQuery } from "./options.js";
import { filterMessage, sortMessages } from "./queries.js";
import type { Page } from "./records.js";
import { toRecord } from "./responses.js";

const QUERY = ["filter", "sort", "cursor", "offset", "limit", "includeTotalCount"];

/** Gets one page. */
export function listOperation(query: ListQuery): Operation<Page> {
  if (!isPlainObject(query as unknown)) {
    throw invalid("query", "must be an object");
  }
  for (const name of Object.keys(query)) {
    if (!QUERY.includes(name)) {
      throw invalid(`query.${name}`, `is not a field of a list query${suggestion(name, QUERY)}`);
    }
  }
  const { cursor, offset, includeTotalCount } = query;
  const request = buildMessage(ListContactMethodsRequestSchema, {
    filter: filterMessage(query.filter),
    pageToken: cursor,
    offset,
    pageSize: checkedLimit(query.limit),
    includeTotalSize: includeTotalCount,
  });
  request.sort = sortMessages(query.sort);
  return operation(ContactMethodsService.method.listContactMethods, request, (response) =>
    pageOf(response, response.totalSize ?? null),
  );
}

/** Gets one page of a client's records. */
export function clientPageOperation(clientId: string, query: ListByClientOptions): Operation<Page> {
  const { type, cursor, limit } = query;
  const request = buildMessage(ListClientContactMethodsRequestSchema, {
    clientId,
    type,
    pageToken: cursor,
    pageSize: checkedLimit(limit),
  });
  return operation(ContactMethodsService.method.listClientContactMethods, request, (response) =>
    pageOf(response, null),
  );
}

/** Gets all pages after a cursor. */
export function streamOperation(filter: Filter | undefined, sort: Sort | undefined, cursor: string): Operation<Page> {
  const request = create(StreamContactMethodsRequestSchema, { sort: sortMessages(sort), pageToken: cursor });
  const conditions = filterMessage(filter);
  if (conditions !== undefined) {
    request.filter = conditions;
  }
  return operation(ContactMethodsService.method.streamContactMethods, request, (response) => pageOf(response, null));
}

function checkedLimit(limit: unknown): unknown {
  if (limit === 0) {
    // The service reads 0 as its default.
    throw invalid("limit", "must be at least 1; omit it for the default");
  }
  return limit === undefined ? undefined : checkedField(ListContactMethodsRequestSchema, "pageSize", "limit", limit);
}

function pageOf(
  response: { contactMethods: ContactMethodMessage[]; nextPageToken: string },
  totalCount: number | null,
): Page {
  const nextCursor = response.nextPageToken || null;
  return {
    data: response.contactMethods.map(toRecord),
    pagination: { hasMore: nextCursor !== null, nextCursor, totalCount },
  };
}
