// The Go peer: grpc-go and the MongoDB driver over the same collection and the same contract, as one would write it in
// an afternoon. No validation, no normalization, no request ids.
//
// Arguments: the MongoDB URI, the database before `_live` and `_test`, and the schema version of new documents.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"google.golang.org/grpc"

	contactsvcv1 "contactsvc-quickstart/contactsvc/v1"
)

const collectionName = "contact_methods"

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("usage: URI DATABASE SCHEMA_VERSION")
	}
	uri, database := arguments[0], arguments[1]
	schemaVersion, err := strconv.Atoi(arguments[2])
	if err != nil {
		return fmt.Errorf("schema version: %w", err)
	}
	client, err := connect(uri)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	contactsvcv1.RegisterContactMethodsServiceServer(server, &service{
		client:        client,
		records:       client.Database(database + "_live").Collection(collectionName),
		streamed:      client.Database(database + "_test").Collection(collectionName),
		schemaVersion: schemaVersion,
	})
	go stopWithParent(server)
	fmt.Printf("go listening on %s\n", listener.Addr())
	return server.Serve(listener)
}

// connect asks for the durability that contactsvc asks for.
func connect(uri string) (*mongo.Client, error) {
	durable := writeconcern.Majority()
	journaled := true
	durable.Journal = &journaled
	client, err := mongo.Connect(
		options.Client().ApplyURI(uri).SetWriteConcern(durable).SetReadConcern(readconcern.Majority()),
	)
	if err != nil {
		return nil, err
	}
	return client, client.Ping(context.Background(), nil)
}

// stopWithParent stops the server when its parent, which holds the other end of standard input, has ended.
func stopWithParent(server *grpc.Server) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.Stop()
}
