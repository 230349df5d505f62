package main

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	contactsvcv1 "contactsvc-quickstart/contactsvc/v1"
)

// document is a contact method as contactsvc stores it.
type document struct {
	ID            string    `bson:"_id"`
	ClientID      string    `bson:"client_id"`
	Type          string    `bson:"type"`
	Value         string    `bson:"value"`
	ValueKey      string    `bson:"value_key"`
	Label         *string   `bson:"label,omitempty"`
	IsPrimary     bool      `bson:"is_primary"`
	ExternalID    *string   `bson:"external_id,omitempty"`
	Metadata      []string  `bson:"metadata"`
	CreatedAt     time.Time `bson:"created_at"`
	UpdatedAt     time.Time `bson:"updated_at"`
	ETag          string    `bson:"etag"`
	SchemaVersion int       `bson:"schema_version"`
}

var typeNames = map[contactsvcv1.ContactMethodType]string{
	contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_EMAIL: "email",
	contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_PHONE: "phone",
	contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_FAX:   "fax",
	contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_OTHER: "other",
}

var typesByName = func() map[string]contactsvcv1.ContactMethodType {
	types := make(map[string]contactsvcv1.ContactMethodType, len(typeNames))
	for value, name := range typeNames {
		types[name] = value
	}
	return types
}()

func newDocument(request *contactsvcv1.CreateContactMethodRequest, schemaVersion int) *document {
	typeName, at := typeNames[request.GetType()], now()
	metadata := make([]string, 0, len(request.GetMetadata()))
	for key, value := range request.GetMetadata() {
		metadata = append(metadata, key+"="+value)
	}
	return &document{
		ID:            "contact_" + randomHex(13),
		ClientID:      request.GetClientId(),
		Type:          typeName,
		Value:         request.GetValue(),
		ValueKey:      typeName + ":" + request.GetValue(),
		Label:         request.Label,
		Metadata:      metadata,
		CreatedAt:     at,
		UpdatedAt:     at,
		ETag:          randomHex(8),
		SchemaVersion: schemaVersion,
	}
}

func (d *document) message() *contactsvcv1.ContactMethod {
	_, normalized, _ := strings.Cut(d.ValueKey, ":")
	metadata := make(map[string]string, len(d.Metadata))
	for _, pair := range d.Metadata {
		key, value, _ := strings.Cut(pair, "=")
		metadata[key] = value
	}
	return &contactsvcv1.ContactMethod{
		Id:              d.ID,
		ClientId:        d.ClientID,
		Type:            typesByName[d.Type],
		Value:           d.Value,
		NormalizedValue: normalized,
		Label:           d.Label,
		IsPrimary:       d.IsPrimary,
		ExternalId:      d.ExternalID,
		Metadata:        metadata,
		CreatedAt:       timestamppb.New(d.CreatedAt),
		UpdatedAt:       timestamppb.New(d.UpdatedAt),
		Etag:            d.ETag,
	}
}

func messages(documents []*document) []*contactsvcv1.ContactMethod {
	found := make([]*contactsvcv1.ContactMethod, len(documents))
	for index, one := range documents {
		found[index] = one.message()
	}
	return found
}

// now has the precision of BSON.
func now() time.Time {
	return time.Now().UTC().Truncate(time.Millisecond)
}

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // Never fails.
	return hex.EncodeToString(random)
}
