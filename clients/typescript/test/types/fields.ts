/** The types that callers see have exactly the fields of the messages: a field that is forgotten fails to compile. */

import type {
  CheckedVerification,
  ContactMethod,
  ContactMethodUpdate,
  ContactMethodUpsert,
  Filter,
  NewContactMethod,
  StartedVerification,
  SyncWrite,
} from "contactsvc-client";

import type * as pb from "#dist/gen/contactsvc/v1/contact_methods_pb.js";

type Same<A, B> = [Exclude<A, B>, Exclude<B, A>] extends [never, never] ? true : [Exclude<A, B>, Exclude<B, A>];
type FieldsOf<M> = Exclude<keyof M, "$typeName" | "$unknown" | "requestId">;
function expectSame<_ extends true>(): void {}

export function checks(): void {
  expectSame<Same<keyof ContactMethod, FieldsOf<pb.ContactMethod>>>();
  expectSame<Same<keyof NewContactMethod, FieldsOf<pb.CreateContactMethodRequest>>>();
  expectSame<Same<keyof ContactMethodUpdate, FieldsOf<pb.UpdateContactMethodRequest>>>();
  expectSame<Same<keyof ContactMethodUpsert, FieldsOf<pb.UpsertContactMethodRequest>>>();
  expectSame<Same<keyof StartedVerification, FieldsOf<pb.StartContactMethodVerificationResponse>>>();
  expectSame<Same<keyof CheckedVerification, FieldsOf<pb.CheckContactMethodVerificationResponse>>>();
  expectSame<Same<keyof SyncWrite, FieldsOf<pb.SyncItem>>>();
  type Singular<N> = N extends "values" | "labels" | "types" | "ids" | "clientIds" | "externalIds"
    ? N extends `${infer S}s`
      ? S
      : never
    : N;
  expectSame<Same<keyof Filter, Exclude<Singular<FieldsOf<pb.ContactMethodFilter>>, "valueContains">>>();
}
