// The two official TypeScript SDKs, under the same names.
async function v1() {
  const [{ Client }, { StreamableHTTPClientTransport }, { SSEClientTransport }, { UnauthorizedError }, types] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/sse.js"),
    import("@modelcontextprotocol/sdk/client/auth.js"),
    import("@modelcontextprotocol/sdk/types.js"),
  ]);
  return {
    Client,
    StreamableHTTPClientTransport,
    SSEClientTransport,
    UnauthorizedError,
    callback: (params) => [params.get("code")],
    onLog: (client, handler) => client.setNotificationHandler(types.LoggingMessageNotificationSchema, handler),
    onSample: (client, handler) => client.setRequestHandler(types.CreateMessageRequestSchema, handler),
    callTool: (client, params, options) => client.callTool(params, undefined, options),
  };
}

async function v2() {
  return {
    ...(await import("@modelcontextprotocol/client")),
    // This one checks the issuer that came back, and wants all parameters for it.
    callback: (params) => [params],
    onLog: (client, handler) => client.setNotificationHandler("notifications/message", handler),
    onSample: (client, handler) => client.setRequestHandler("sampling/createMessage", handler),
    callTool: (client, params, options) => client.callTool(params, options),
  };
}

export const sdks = { v1, v2 };

// signIn connects what open makes, a client and its transport, and again once a person has signed in.
export async function signIn(sdk, provider, open) {
  const [client, transport] = open();
  try {
    await client.connect(transport);
    return client;
  } catch (e) {
    if (!(e instanceof sdk.UnauthorizedError)) throw e;
  }
  await transport.finishAuth(...sdk.callback(await provider.callback()));
  const [signedIn, again] = open();
  await signedIn.connect(again);
  return signedIn;
}
