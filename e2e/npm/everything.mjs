// Has the official reference server do towards one of the official TypeScript SDKs what a server can do:
// answer, report progress, log on its own, ask, and, over Streamable HTTP, send the rest of an answer again.
import { Provider } from "./provider.mjs";
import { sdks, signIn } from "./sdks.mjs";
import { run } from "./stage.mjs";

const long = (duration) => ({ name: "trigger-long-running-operation", arguments: { duration, steps: 3 } });
const text = (result) => result.content[0].text;

async function use(sdk, provider, { url, legacy }) {
  const Transport = legacy ? sdk.SSEClientTransport : sdk.StreamableHTTPClientTransport;
  const asked = [];
  let transport, logged;
  const log = new Promise((resolve) => (logged = resolve));
  const open = (options) => {
    transport = new Transport(new URL(url), { authProvider: provider, ...options });
    const client = new sdk.Client({ name: "typescript-client", version: "1.0.0" }, { capabilities: { sampling: {} } });
    sdk.onSample(client, async (request) => {
      asked.push(request.params.systemPrompt);
      return { role: "assistant", model: "none", content: { type: "text", text: "forty-two" } };
    });
    sdk.onLog(client, ({ params }) => logged(params.data));
    return [client, transport];
  };
  let client = await signIn(sdk, provider, open);
  const progress = [];
  const result = {
    echo: text(await sdk.callTool(client, { name: "echo", arguments: { message: "hello" } })),
    long: text(await sdk.callTool(client, long(0.15), { onprogress: (p) => progress.push(p.progress) })),
    progress,
    sampled: text(await sdk.callTool(client, { name: "trigger-sampling-request", arguments: { prompt: "?" } })),
    asked,
  };
  await sdk.callTool(client, { name: "toggle-simulated-logging", arguments: {} });
  result.logged = await log;
  if (!legacy) {
    result.session = transport.sessionId;
    [client, result.resumed] = await resume(sdk, client, transport, open);
    await transport.terminateSession();
    result.afterwards = await client.ping().then(() => "", (e) => String(e.message));
  }
  await client.close();
  return result;
}

// resume leaves in the middle of an answer and asks for the rest of it over another connection.
async function resume(sdk, client, transport, open) {
  let token;
  await new Promise((resolve) => {
    const left = sdk.callTool(client, long(0.3), { onresumptiontoken: (t) => (token = t), onprogress: resolve });
    left.catch(() => {}); // nobody waits for it any more
  });
  await transport.close();
  const [again, connection] = open({ sessionId: transport.sessionId });
  connection.setProtocolVersion(transport.protocolVersion);
  await again.connect(connection);
  // The server repeats only what it had sent when it was asked. What begins later and takes as long ends later.
  await sdk.callTool(again, long(0.3));
  return [again, text(await sdk.callTool(again, long(0.3), { resumptionToken: token }))];
}

await run(async ({ sdk, redirectURI, servers }) => {
  const loaded = await sdks[sdk]();
  const results = [];
  for (const server of servers) {
    const provider = new Provider(redirectURI);
    results.push({ ...(await use(loaded, provider, server)), signIns: provider.signIns });
  }
  return results;
});
