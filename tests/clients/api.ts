// A client in TypeScript over the types that openapi-typescript makes of /openapi.json; only its types are checked.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8000", headers: { "X-API-Key": "igx_…" } });

export async function submitted(): Promise<string> {
  const body = { text: "a mug", params: { resolution: "512×512", num_images: 2 }, metadata: { order: "7" } };
  const { data, error } = await client.POST("/api/v1/image/generate", { body });
  if (error) throw new Error(error.message);
  return data.data.task_id;
}

export async function pictures(task_id: string): Promise<string[]> {
  const { data } = await client.GET("/api/v1/image/task/{task_id}", { params: { path: { task_id } } });
  return (data?.data.result?.pictures ?? []).map((picture) => picture.original_url);
}

export async function misspelt(): Promise<void> {
  // @ts-expect-error a request is checked against the document
  await client.POST("/api/v1/image/generate", { body: { txt: "a mug" } });
}
