package main

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	contactsvcv1 "contactsvc-quickstart/contactsvc/v1"
)

const (
	listSize   = 20
	streamPage = 200
)

var oldestFirst = bson.D{{Key: "created_at", Value: 1}, {Key: "_id", Value: 1}}

// service answers the calls that are measured. A stream reads the test environment, all others the live one.
type service struct {
	contactsvcv1.UnimplementedContactMethodsServiceServer

	client        *mongo.Client
	records       *mongo.Collection
	streamed      *mongo.Collection
	schemaVersion int
}

func (s *service) GetContactMethod(
	ctx context.Context, request *contactsvcv1.GetContactMethodRequest,
) (*contactsvcv1.GetContactMethodResponse, error) {
	var found document
	if err := s.records.FindOne(ctx, bson.M{"_id": request.GetId()}).Decode(&found); err != nil {
		return nil, statusError(err)
	}
	return &contactsvcv1.GetContactMethodResponse{ContactMethod: found.message()}, nil
}

func (s *service) GetPrimaryContactMethod(
	ctx context.Context, request *contactsvcv1.GetPrimaryContactMethodRequest,
) (*contactsvcv1.GetPrimaryContactMethodResponse, error) {
	filter := bson.M{"client_id": request.GetClientId(), "type": typeNames[request.GetType()], "is_primary": true}
	var found document
	err := s.records.FindOne(ctx, filter).Decode(&found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return &contactsvcv1.GetPrimaryContactMethodResponse{}, nil
	}
	if err != nil {
		return nil, statusError(err)
	}
	return &contactsvcv1.GetPrimaryContactMethodResponse{ContactMethod: found.message()}, nil
}

func (s *service) ListClientContactMethods(
	ctx context.Context, request *contactsvcv1.ListClientContactMethodsRequest,
) (*contactsvcv1.ListClientContactMethodsResponse, error) {
	cursor, err := s.records.Find(
		ctx, bson.M{"client_id": request.GetClientId()}, options.Find().SetSort(oldestFirst).SetLimit(listSize),
	)
	if err != nil {
		return nil, statusError(err)
	}
	var found []*document
	if err := cursor.All(ctx, &found); err != nil {
		return nil, statusError(err)
	}
	return &contactsvcv1.ListClientContactMethodsResponse{ContactMethods: messages(found)}, nil
}

func (s *service) CreateContactMethod(
	ctx context.Context, request *contactsvcv1.CreateContactMethodRequest,
) (*contactsvcv1.CreateContactMethodResponse, error) {
	created := newDocument(request, s.schemaVersion)
	if _, err := s.records.InsertOne(ctx, created); err != nil {
		return nil, statusError(err)
	}
	return &contactsvcv1.CreateContactMethodResponse{ContactMethod: created.message()}, nil
}

// UpdateContactMethod changes the label, and nothing else.
func (s *service) UpdateContactMethod(
	ctx context.Context, request *contactsvcv1.UpdateContactMethodRequest,
) (*contactsvcv1.UpdateContactMethodResponse, error) {
	filter := bson.M{"_id": request.GetId()}
	change := bson.M{"$set": bson.M{"label": request.GetLabel(), "updated_at": now(), "etag": randomHex(8)}}
	// FindOneAndUpdate would be one command, but the embedded database scans the collection for it.
	if _, err := s.records.UpdateOne(ctx, filter, change); err != nil {
		return nil, statusError(err)
	}
	var updated document
	if err := s.records.FindOne(ctx, filter).Decode(&updated); err != nil {
		return nil, statusError(err)
	}
	return &contactsvcv1.UpdateContactMethodResponse{ContactMethod: updated.message()}, nil
}

func (s *service) BatchCreateContactMethods(
	ctx context.Context, request *contactsvcv1.BatchCreateContactMethodsRequest,
) (*contactsvcv1.BatchCreateContactMethodsResponse, error) {
	created := make([]*document, len(request.GetRequests()))
	for index, item := range request.GetRequests() {
		created[index] = newDocument(item, s.schemaVersion)
	}
	session, err := s.client.StartSession()
	if err != nil {
		return nil, statusError(err)
	}
	defer session.EndSession(ctx)
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		return s.records.InsertMany(ctx, created)
	})
	if err != nil {
		return nil, statusError(err)
	}
	results := make([]*contactsvcv1.BatchCreateContactMethodsResult, len(created))
	for index, one := range created {
		outcome := &contactsvcv1.BatchCreateContactMethodsResult_ContactMethod{ContactMethod: one.message()}
		results[index] = &contactsvcv1.BatchCreateContactMethodsResult{Outcome: outcome}
	}
	return &contactsvcv1.BatchCreateContactMethodsResponse{Results: results}, nil
}

func (s *service) StreamContactMethods(
	_ *contactsvcv1.StreamContactMethodsRequest,
	stream grpc.ServerStreamingServer[contactsvcv1.StreamContactMethodsResponse],
) error {
	ctx := stream.Context()
	cursor, err := s.streamed.Find(ctx, bson.M{}, options.Find().SetSort(oldestFirst).SetBatchSize(streamPage))
	if err != nil {
		return statusError(err)
	}
	defer cursor.Close(ctx)
	page := make([]*contactsvcv1.ContactMethod, 0, streamPage)
	for cursor.Next(ctx) {
		var found document
		if err := cursor.Decode(&found); err != nil {
			return statusError(err)
		}
		page = append(page, found.message())
		if len(page) == streamPage {
			if err := stream.Send(&contactsvcv1.StreamContactMethodsResponse{ContactMethods: page}); err != nil {
				return err
			}
			page = make([]*contactsvcv1.ContactMethod, 0, streamPage)
		}
	}
	if err := cursor.Err(); err != nil {
		return statusError(err)
	}
	if len(page) == 0 {
		return nil
	}
	return stream.Send(&contactsvcv1.StreamContactMethodsResponse{ContactMethods: page})
}

// statusError hides the details of a failure from callers.
func statusError(err error) error {
	if errors.Is(err, mongo.ErrNoDocuments) {
		return status.Error(codes.NotFound, "not found")
	}
	return status.Error(codes.Internal, "failed")
}
