// A client in a browser, as the Inspector is one when it connects directly: the TypeScript SDK in a
// page of another origin than the server's. What it must remember over the sign-in is in the
// session's storage; what it found out is in the page in the end.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";

const stored = (name) => JSON.parse(sessionStorage.getItem(name) ?? "null") ?? undefined;
const store = (name, value) => sessionStorage.setItem(name, JSON.stringify(value));

const redirectURI = location.origin + "/oauth/callback";
const provider = {
  redirectUrl: redirectURI,
  clientMetadata: {
    client_name: "Browser client",
    redirect_uris: [redirectURI, redirectURI + "/debug"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
    scope: "",
  },
  state() {
    store("state", crypto.randomUUID());
    return stored("state");
  },
  clientInformation: () => stored("client"),
  saveClientInformation: (client) => store("client", client),
  tokens: () => stored("tokens"),
  saveTokens(tokens) {
    store("saved", (stored("saved") ?? 0) + 1);
    store("tokens", tokens);
  },
  saveCodeVerifier: (verifier) => store("verifier", verifier),
  codeVerifier: () => stored("verifier"),
  saveDiscoveryState: (discovery) => store("discovery", discovery),
  discoveryState: () => stored("discovery"),
  redirectToAuthorization(address) {
    location.href = address.href;
  },
};

function show(result) {
  const element = document.createElement("pre");
  element.id = "result";
  element.textContent = JSON.stringify(result);
  document.body.append(element);
}

const url = new URL(document.body.dataset.server);
const open = () => new StreamableHTTPClientTransport(url, { authProvider: provider });

async function use() {
  const transport = open();
  const client = new Client({ name: "browser-client", version: "1.0.0" });
  await client.connect(transport);
  const whoami = async () => (await client.callTool({ name: "whoami", arguments: {} })).structuredContent;
  const before = await whoami();
  provider.saveTokens({ ...stored("tokens"), access_token: "expired" });
  const saved = stored("saved");
  const after = await whoami();
  const session = Boolean(transport.sessionId);
  await transport.terminateSession();
  await client.close();
  return { before, after, refreshes: stored("saved") - saved, session };
}

try {
  if (location.pathname === "/oauth/callback") {
    const answer = new URLSearchParams(location.search);
    if (answer.get("state") !== stored("state")) throw new Error("another state came back");
    await open().finishAuth(answer);
    show(await use());
  } else {
    await new Client({ name: "browser-client", version: "1.0.0" }).connect(open());
    throw new Error("the server let a client without a token in");
  }
} catch (e) {
  if (!(e instanceof UnauthorizedError)) show({ error: String(e.stack ?? e) });
}
