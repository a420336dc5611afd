// Connects one of the official TypeScript SDKs to a server of which it knows the address only, calls
// tools, and goes on after its access token has stopped working.
import { Provider } from "./provider.mjs";
import { run } from "./stage.mjs";

async function v1() {
  const [{ Client }, { StreamableHTTPClientTransport }, { SSEClientTransport }, { UnauthorizedError }] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/sse.js"),
    import("@modelcontextprotocol/sdk/client/auth.js"),
  ]);
  return { Client, StreamableHTTPClientTransport, SSEClientTransport, UnauthorizedError, callback: (params) => [params.get("code")] };
}

async function v2() {
  // This one checks the issuer that came back, and wants all parameters for it.
  return { ...(await import("@modelcontextprotocol/client")), callback: (params) => [params] };
}

await run(async ({ sdk, url, legacy, redirectURI, clientMetadataURL, protocol }) => {
  const { Client, StreamableHTTPClientTransport, SSEClientTransport, UnauthorizedError, callback } = await { v1, v2 }[sdk]();
  const provider = new Provider(redirectURI, clientMetadataURL);
  const options = protocol ? { versionNegotiation: { mode: protocol } } : {};
  const connect = async (then) => {
    const transport = new (legacy ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url), { authProvider: provider });
    const client = new Client({ name: "typescript-client", version: "1.0.0" }, options);
    try {
      await client.connect(transport);
      return client;
    } catch (e) {
      if (!then || !(e instanceof UnauthorizedError)) throw e;
      return await then(transport);
    }
  };
  const client = await connect(async (transport) => {
    await transport.finishAuth(...callback(await provider.callback()));
    return connect();
  });

  const { tools } = await client.listTools();
  const whoami = async () => (await client.callTool({ name: "whoami", arguments: {} })).structuredContent;
  const before = await whoami();
  const saved = provider.saved;
  provider.spoil();
  const after = await whoami();
  const result = {
    tools: tools.map((tool) => tool.name),
    before,
    after,
    client: provider.clientInformation().client_id,
    signIns: provider.signIns,
    refreshes: provider.saved - saved,
    invalidated: provider.invalidated,
  };
  await client.close();
  return result;
});
