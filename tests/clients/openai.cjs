// Calls a gateway as applications in Node do, and prints what came back as JSON: node openai.cjs URL KEY
const { OpenAI, toFile } = require("openai");

const [url, apiKey, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const mug = { model: "tiny", prompt: "a mug", size: "96x96" };

async function kinds(stream) {
  const seen = [];
  for await (const event of stream) seen.push(event.type);
  return seen;
}

async function main() {
  const both = await client.images.generate({ ...mug, n: 2 });
  const inline = await client.images.generate({ ...mug, response_format: "b64_json" });
  const image = await toFile(Buffer.from(picture, "base64"), "mug.png", { type: "image/png" });
  const edited = await client.images.edit({ ...mug, image });
  const streamed = await client.images.generate({ ...mug, prompt: "a slow mug", stream: true, partial_images: 1 });
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const refused = await client.images.generate({ ...mug, background: "transparent" }).catch((error) => error);
  return {
    urls: both.data.map((one) => one.url),
    inline: inline.data[0].b64_json,
    edited: edited.data[0].url,
    streamed: await kinds(streamed),
    models,
    retrieved: (await client.models.retrieve("tiny")).id,
    refused: [refused.status, refused.param],
  };
}

main().then((seen) => console.log(JSON.stringify(seen)));
