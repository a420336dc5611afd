// Prints the import map with which a browser loads the TypeScript SDK as it is, without a bundler.
// To be run with --conditions=browser. The packages are served below /packages/.
import { fileURLToPath, pathToFileURL } from "node:url";

const packages = pathToFileURL(fileURLToPath(new URL("./node_modules/", import.meta.url))).href;
const imports = {};
for (const name of [
  "@modelcontextprotocol/client",
  "@modelcontextprotocol/client/_shims",
  "@modelcontextprotocol/core/internal",
  "eventsource",
  "eventsource-parser",
  "eventsource-parser/stream",
  "jose",
  "pkce-challenge",
  "zod/v4",
]) {
  const found = import.meta.resolve(name);
  if (!found.startsWith(packages)) throw new Error(`${name} is at ${found}`);
  imports[name] = "/packages/" + found.slice(packages.length);
}
process.stdout.write(JSON.stringify({ imports }));
