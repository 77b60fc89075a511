/** The first lines of an app that uses a project, to take along. Pure. */

export interface ConnectTo {
  /** Of the server, such as `https://baas.example.com`. */
  url: string;
  project: string;
  /** A publishable key; null: there is none. */
  key: string | null;
}

export const LANGUAGES = ["python", "curl"] as const;
export type Language = (typeof LANGUAGES)[number];

const NO_KEY = "baas_pk_…";

export function connectCode(language: Language, { url, project, key }: ConnectTo): string {
  const shown = key ?? NO_KEY;
  if (language === "python")
    return `# pip install baas-sdk
from baas_sdk import Client

client = Client(${quoted(url)}, project=${quoted(project)}, api_key=${quoted(shown)})
client.auth.sign_up("ada@example.com", "a long password")  # sign_in from then on
client.collection("notes").add({"text": "hello"})
for note in client.collection("notes").stream():
    print(note.id, note.to_dict())
`;
  const base = `${url}/api/v1/projects/${encodeURIComponent(project)}`;
  return `# A new user; the answer has an "id_token".
curl -sS '${base}/accounts:sign-up' \\
  -H 'X-API-Key: ${shown}' -H 'Content-Type: application/json' \\
  -d '{"email": "ada@example.com", "password": "a long password"}'

curl -sS '${base}/documents/notes' \\
  -H 'Authorization: Bearer ID_TOKEN' -H 'Content-Type: application/json' \\
  -d '{"fields": {"text": "hello"}}'
`;
}

/** A string literal of Python. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
