// Connects one of the official TypeScript SDKs to a server of which it knows the address only, calls
// tools, and goes on after its access token has stopped working.
import { Provider } from "./provider.mjs";
import { sdks, signIn } from "./sdks.mjs";
import { run } from "./stage.mjs";

await run(async ({ sdk, url, legacy, redirectURI, clientMetadataURL, protocol }) => {
  const loaded = await sdks[sdk]();
  const provider = new Provider(redirectURI, clientMetadataURL);
  const options = protocol ? { versionNegotiation: { mode: protocol } } : {};
  const client = await signIn(loaded, provider, () => {
    const transport = new (legacy ? loaded.SSEClientTransport : loaded.StreamableHTTPClientTransport)(new URL(url), { authProvider: provider });
    return [new loaded.Client({ name: "typescript-client", version: "1.0.0" }, options), transport];
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
