// Quickstart creates two contact methods, promotes one, reads the reason of an error, and repeats a write safely.
//
// CONTACTSVC_TARGET is the address of the service (localhost:50051 by default), CONTACTSVC_API_KEY its API key, if any, and
// CONTACTSVC_TLS_CA the file of its CA, if it serves TLS.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	contactsvcv1 "contactsvc-quickstart/contactsvc/v1"
)

// Retries calls up to three times while the service is unavailable, and balances over all its addresses. Safe for reads and
// for writes with a request id. A stopping service ends calls that it has not begun with CANCELLED.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "contactsvc.v1.ContactMethodsService"}],
    "timeout": "5s",
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.1s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
    }
  }]
}`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	contacts := contactsvcv1.NewContactMethodsServiceClient(connection)
	if key := os.Getenv("CONTACTSVC_API_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	clientID := "client_" + rand.Text() // a new one in each run
	email := contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_EMAIL
	create := &contactsvcv1.CreateContactMethodRequest{
		ClientId: clientID, Type: email, Value: "juan@example.com", IsPrimary: true, RequestId: rand.Text(),
	}
	created, err := contacts.CreateContactMethod(ctx, create)
	if err != nil {
		return err
	}
	personal := created.GetContactMethod()
	fmt.Printf("created %s, primary: %t\n", personal.GetValue(), personal.GetIsPrimary())

	// Promoting one record demotes the other, in the same step.
	created, err = contacts.CreateContactMethod(ctx, &contactsvcv1.CreateContactMethodRequest{
		ClientId: clientID, Type: email, Value: "juan@work.example.com", RequestId: rand.Text(),
	})
	if err != nil {
		return err
	}
	promote := true // a pointer: absent leaves the flag unchanged
	if _, err := contacts.UpdateContactMethod(ctx, &contactsvcv1.UpdateContactMethodRequest{
		Id: created.GetContactMethod().GetId(), IsPrimary: &promote, RequestId: rand.Text(),
	}); err != nil {
		return err
	}
	primary, err := contacts.GetPrimaryContactMethod(ctx, &contactsvcv1.GetPrimaryContactMethodRequest{
		ClientId: clientID, Type: email,
	})
	if err != nil {
		return err
	}
	fmt.Printf("primary is now %s\n", primary.GetContactMethod().GetValue())

	_, err = contacts.CreateContactMethod(ctx, &contactsvcv1.CreateContactMethodRequest{
		ClientId: clientID, Type: contactsvcv1.ContactMethodType_CONTACT_METHOD_TYPE_PHONE, Value: "12",
	})
	if err == nil {
		return errors.New("an invalid number was accepted")
	}
	reason, fields := explain(err)
	fmt.Printf("refused: %s %s, field %s\n", status.Code(err), reason, strings.Join(fields, ", "))

	// With the same request id, the request has no further effect, and returns the record as it is now.
	again, err := contacts.CreateContactMethod(ctx, create)
	if err != nil {
		return err
	}
	same := map[bool]string{true: "the same record", false: "another record"}
	fmt.Printf("repeated: %s\n", same[again.GetContactMethod().GetId() == personal.GetId()])
	return nil
}

func connect() (*grpc.ClientConn, error) {
	target := os.Getenv("CONTACTSVC_TARGET")
	if target == "" {
		target = "localhost:50051"
	}
	transport := insecure.NewCredentials()
	if ca := os.Getenv("CONTACTSVC_TLS_CA"); ca != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(ca, ""); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient(target, grpc.WithTransportCredentials(transport), grpc.WithDefaultServiceConfig(serviceConfig))
}

// explain returns the reason of an error, such as EXTERNAL_ID_TAKEN, and the paths of the faulty fields.
func explain(err error) (reason string, fields []string) {
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fields = append(fields, violation.GetField())
			}
		}
	}
	return reason, fields
}
