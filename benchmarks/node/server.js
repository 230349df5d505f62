// The Node peer: @grpc/grpc-js and the mongodb driver over the same collection and the same contract, as one would write
// it in an afternoon. No validation, no normalization, no request ids.
//
// Arguments: the MongoDB URI, the database before `_live` and `_test`, the folder of the protos, and the schema version
// of new documents.
'use strict';

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const { MongoClient } = require('mongodb');

const [uri, database, protos, schemaVersion] = process.argv.slice(2);
const PAGE = 200;
const definition = protoLoader.loadSync('contactsvc/v1/contact_methods.proto', {
  includeDirs: [protos],
  keepCase: true,
  enums: String,
});
const { ContactMethodsService } = grpc.loadPackageDefinition(definition).contactsvc.v1;
const TYPE_PREFIX = 'CONTACT_METHOD_TYPE_';
const typeOf = (name) => name.slice(TYPE_PREFIX.length).toLowerCase();

const timestamp = (date) => ({
  seconds: Math.floor(date.getTime() / 1000),
  nanos: (date.getTime() % 1000) * 1e6,
});

function toDocument(request) {
  const now = new Date();
  return {
    _id: `contact_${randomBytes(13).toString('hex')}`,
    client_id: request.client_id,
    type: typeOf(request.type),
    value: request.value,
    value_key: `${typeOf(request.type)}:${request.value}`,
    label: request.label,
    is_primary: false,
    metadata: Object.entries(request.metadata ?? {}).map(([key, value]) => `${key}=${value}`),
    created_at: now,
    updated_at: now,
    etag: randomBytes(8).toString('hex'),
    schema_version: Number(schemaVersion),
  };
}

function fromDocument(document) {
  const message = {
    id: document._id,
    client_id: document.client_id,
    type: TYPE_PREFIX + document.type.toUpperCase(),
    value: document.value,
    normalized_value: document.value_key.slice(document.value_key.indexOf(':') + 1),
    is_primary: document.is_primary,
    metadata: Object.fromEntries(
      document.metadata.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    ),
    created_at: timestamp(document.created_at),
    updated_at: timestamp(document.updated_at),
    etag: document.etag,
  };
  if (document.label) message.label = document.label;
  if (document.external_id) message.external_id = document.external_id;
  return message;
}

// Makes a handler of an async function.
const handler = (work) => (call, callback) => {
  work(call.request).then(
    (answer) => callback(null, answer),
    (error) => callback({ code: error.code ?? grpc.status.INTERNAL, message: 'failed' }),
  );
};

async function main() {
  // The durability that contactsvc asks for.
  const client = new MongoClient(uri, {
    writeConcern: { w: 'majority', journal: true },
    readConcern: { level: 'majority' },
  });
  await client.connect();
  const collection = client.db(`${database}_live`).collection('contact_methods');
  const streamed = client.db(`${database}_test`).collection('contact_methods');
  const server = new grpc.Server();
  server.addService(ContactMethodsService.service, {
    GetContactMethod: handler(async ({ id }) => {
      const document = await collection.findOne({ _id: id });
      if (!document) throw { code: grpc.status.NOT_FOUND };
      return { contact_method: fromDocument(document) };
    }),
    GetPrimaryContactMethod: handler(async ({ client_id, type }) => {
      const document = await collection.findOne({ client_id, type: typeOf(type), is_primary: true });
      return document ? { contact_method: fromDocument(document) } : {};
    }),
    ListClientContactMethods: handler(async ({ client_id }) => {
      const cursor = collection.find({ client_id }).sort({ created_at: 1, _id: 1 }).limit(20);
      return { contact_methods: (await cursor.toArray()).map(fromDocument) };
    }),
    CreateContactMethod: handler(async (request) => {
      const document = toDocument(request);
      await collection.insertOne(document);
      return { contact_method: fromDocument(document) };
    }),
    // Changes the label, and nothing else.
    UpdateContactMethod: handler(async ({ id, label }) => {
      const change = { label, updated_at: new Date(), etag: randomBytes(8).toString('hex') };
      // findOneAndUpdate would be one command, but the embedded database scans the collection for it.
      await collection.updateOne({ _id: id }, { $set: change });
      const document = await collection.findOne({ _id: id });
      if (!document) throw { code: grpc.status.NOT_FOUND };
      return { contact_method: fromDocument(document) };
    }),
    BatchCreateContactMethods: handler(async ({ requests }) => {
      const documents = requests.map(toDocument);
      await client.withSession((session) =>
        session.withTransaction(() => collection.insertMany(documents, { session })),
      );
      return { results: documents.map((document) => ({ contact_method: fromDocument(document) })) };
    }),
    StreamContactMethods: (call) => {
      const pages = async () => {
        const cursor = streamed.find({}).sort({ created_at: 1, _id: 1 }).batchSize(PAGE);
        let page = [];
        const send = async () => {
          if (!call.write({ contact_methods: page })) await once(call, 'drain');
          page = [];
        };
        for await (const document of cursor) {
          if (page.push(fromDocument(document)) === PAGE) await send();
        }
        if (page.length) await send();
        call.end();
      };
      pages().catch(() => call.destroy({ code: grpc.status.INTERNAL, message: 'failed' }));
    },
  });
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(`node listening on 127.0.0.1:${port}`);
  });
  process.stdin.resume();
  process.stdin.on('end', () => process.exit());
  process.on('SIGTERM', () => process.exit());
}

main();
