// Goes the whole way of an OAuth client with oauth4webapi, which takes nothing on trust: every
// answer is checked against the specifications, and what is wrong throws.
import * as oauth from "oauth4webapi";
import { run, visit } from "./stage.mjs";

const http = { [oauth.allowInsecureRequests]: true }; // the tests' edge is on loopback

const authentication = {
  none: () => oauth.None(),
  client_secret_basic: (client) => oauth.ClientSecretBasic(client.client_secret),
  client_secret_post: (client) => oauth.ClientSecretPost(client.client_secret),
};

async function rejected(promise) {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  throw new Error("what should have been rejected was accepted");
}

async function discover(url) {
  const resource = new URL(url);
  const described = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, http));
  const issuer = new URL(described.authorization_servers[0]);
  const response = await oauth.discoveryRequest(issuer, { ...http, algorithm: "oauth2" });
  return { described, as: await oauth.processDiscoveryResponse(issuer, response) };
}

// callResource sends an MCP request and returns the status, or the challenge it was refused with.
async function callResource(token, url) {
  const headers = new Headers({ "content-type": "application/json", accept: "application/json, text/event-stream" });
  const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "oauth4webapi", version: "1.0.0" } };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params });
  try {
    const response = await oauth.protectedResourceRequest(token, "POST", new URL(url), headers, body, http);
    await response.text();
    return { status: response.status };
  } catch (e) {
    if (!(e instanceof oauth.WWWAuthenticateChallengeError)) throw e;
    return { status: e.status, challenge: e.cause[0] };
  }
}

await run(async ({ url, redirectURI, method }) => {
  const { described, as } = await discover(url);
  const registration = await oauth.dynamicClientRegistrationRequest(as, {
    client_name: "Strict client",
    redirect_uris: [redirectURI],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: method,
  }, http);
  const client = await oauth.processDynamicClientRegistrationResponse(registration);
  const auth = authentication[client.token_endpoint_auth_method](client);

  const authorize = async () => {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const address = new URL(as.authorization_endpoint);
    for (const [name, value] of Object.entries({
      client_id: client.client_id,
      redirect_uri: redirectURI,
      response_type: "code",
      scope: described.scopes_supported.join(" "),
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      resource: described.resource,
      state,
    })) {
      address.searchParams.set(name, value);
    }
    return { verifier, state, landed: await visit(address) };
  };
  const resource = { additionalParameters: { resource: described.resource } };
  const exchange = async ({ landed, state, verifier }) => {
    const callback = oauth.validateAuthResponse(as, client, landed, state);
    const options = { ...http, ...resource };
    const response = await oauth.authorizationCodeGrantRequest(as, client, auth, callback, redirectURI, verifier, options);
    return oauth.processAuthorizationCodeResponse(as, client, response);
  };
  const wrongVerifier = await rejected(exchange({ ...(await authorize()), verifier: oauth.generateRandomCodeVerifier() }));

  const answer = await authorize();
  const otherIssuer = new URL(answer.landed);
  otherIssuer.searchParams.set("iss", "https://other.example");
  const mixUp = await rejected(exchange({ ...answer, landed: otherIssuer }));
  const tokens = await exchange(answer);
  const first = await callResource(tokens.access_token, url);

  const refresh = (token) =>
    oauth.refreshTokenGrantRequest(as, client, auth, token, { ...http, ...resource })
      .then((response) => oauth.processRefreshTokenResponse(as, client, response));
  const renewed = await refresh(tokens.refresh_token);
  const second = await callResource(renewed.access_token, url);

  let introspected;
  if (as.introspection_endpoint && method !== "none") {
    const response = await oauth.introspectionRequest(as, client, auth, renewed.access_token, http);
    introspected = await oauth.processIntrospectionResponse(as, client, response);
  }

  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, renewed.refresh_token, http));
  const third = await callResource(renewed.access_token, url);
  const afterRevocation = await rejected(refresh(renewed.refresh_token));

  return {
    issuer: as.issuer,
    resource: described.resource,
    pushedRequests: as.pushed_authorization_request_endpoint,
    introspection: as.introspection_endpoint,
    introspected,
    method: client.token_endpoint_auth_method,
    scope: tokens.scope,
    rotated: renewed.refresh_token !== tokens.refresh_token,
    calls: [first, second, third],
    mixUp: mixUp.message,
    wrongVerifier: wrongVerifier.error,
    afterRevocation: afterRevocation.error,
  };
});
