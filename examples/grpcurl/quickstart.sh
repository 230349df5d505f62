#!/bin/sh
# Creates two contact methods, promotes one, reads the reason of an error, and repeats a write safely.
#
# CONTACTSVC_TARGET is the address of the service (localhost:50051 by default), CONTACTSVC_API_KEY its API key, if any.
# Needs reflection, which the service has on loopback by default.
set -eu

target=${CONTACTSVC_TARGET:-localhost:50051}
client="client_$(date +%s)_$$"

# call RPC REQUEST: calls, and retries up to three times while the service is unavailable, which is safe for reads and for
# writes with a requestId. The exit code of grpcurl is 64 plus the status code; UNAVAILABLE is 14.
call() {
    attempt=1
    while true; do
        code=0
        grpcurl -plaintext -max-time 5 ${CONTACTSVC_API_KEY:+-H "authorization: Bearer $CONTACTSVC_API_KEY"} \
            -d "$2" "$target" "contactsvc.v1.ContactMethodsService/$1" 2>&1 || code=$?
        if [ "$code" -ne 78 ] || [ "$attempt" -ge 4 ]; then
            return "$code"
        fi
        sleep "$attempt"
        attempt=$((attempt + 1))
    done
}

# field NAME: prints the first value of a field in the JSON on standard input.
field() {
    sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

create="{\"clientId\": \"$client\", \"type\": \"CONTACT_METHOD_TYPE_EMAIL\", \"value\": \"juan@example.com\",
    \"isPrimary\": true, \"requestId\": \"$client-1\"}"
personal=$(call CreateContactMethod "$create")
echo "created $(echo "$personal" | field value), primary: $(echo "$personal" | field isPrimary)"

# Promoting one record demotes the other, in the same step.
work=$(call CreateContactMethod "{\"clientId\": \"$client\", \"type\": \"CONTACT_METHOD_TYPE_EMAIL\",
    \"value\": \"juan@work.example.com\", \"requestId\": \"$client-2\"}" | field id)
call UpdateContactMethod "{\"id\": \"$work\", \"isPrimary\": true, \"requestId\": \"$client-3\"}" > /dev/null
echo "primary is now $(call GetPrimaryContactMethod \
    "{\"clientId\": \"$client\", \"type\": \"CONTACT_METHOD_TYPE_EMAIL\"}" | field value)"

# The reason is in google.rpc.ErrorInfo, the fields are in google.rpc.BadRequest.
if ! refusal=$(call CreateContactMethod "{\"clientId\": \"$client\", \"type\": \"CONTACT_METHOD_TYPE_PHONE\", \"value\": \"12\"}"); then
    echo "refused: $(echo "$refusal" | sed -n 's/ *Code: //p') $(echo "$refusal" | field reason), field $(echo "$refusal" | field field)"
fi

# With the same request id, the request has no further effect, and returns the record as it is now.
again=$(call CreateContactMethod "$create")
if [ "$(echo "$again" | field id)" = "$(echo "$personal" | field id)" ]; then
    echo "repeated: the same record"
else
    echo "repeated: another record"
fi
