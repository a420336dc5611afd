import { randomUUID } from "node:crypto";
import { visit } from "./stage.mjs";

// Provider is the memory that the TypeScript SDKs ask a client to have. It counts what they make it
// forget: at a server that answers well, nothing.
export class Provider {
  signIns = 0;
  saved = 0;
  invalidated = [];
  #redirectURI;
  #state;
  #landed;
  #client;
  #tokens;
  #verifier;
  #discovery;

  constructor(redirectURI, clientMetadataUrl) {
    this.#redirectURI = redirectURI;
    this.clientMetadataUrl = clientMetadataUrl;
  }

  get redirectUrl() {
    return this.#redirectURI;
  }

  get clientMetadata() {
    return {
      client_name: "TypeScript client",
      client_uri: "https://client.example",
      redirect_uris: [this.#redirectURI],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
  }

  state() {
    return (this.#state = randomUUID());
  }

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.saved++;
    this.#tokens = tokens;
  }

  // spoil makes the access token one that the server does not know, as if it had expired.
  spoil() {
    this.#tokens = { ...this.#tokens, access_token: "expired" };
  }

  redirectToAuthorization(address) {
    this.signIns++;
    this.#landed = visit(address);
  }

  // callback is what the authorization server sent to the redirect URI.
  async callback() {
    const landed = await this.#landed;
    if (landed.searchParams.get("state") !== this.#state) throw new Error("another state came back");
    return landed.searchParams;
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  codeVerifier() {
    return this.#verifier;
  }

  saveDiscoveryState(discovery) {
    this.#discovery = discovery;
  }

  discoveryState() {
    return this.#discovery;
  }

  invalidateCredentials(scope) {
    this.invalidated.push(scope);
  }
}
