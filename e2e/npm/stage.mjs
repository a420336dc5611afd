// What the scripts here have in common: the test that started one plays the person at the browser.
// A script writes JSON objects to its standard output, one a line, and reads what happened in the
// browser from its standard input.
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

// visit asks for a person to open an address, and returns the address the browser was sent to.
export async function visit(address) {
  say({ open: String(address) });
  const { value, done } = await lines.next();
  if (done) throw new Error("nobody is at the browser any more");
  return new URL(JSON.parse(value).landed);
}

// run gives a script its configuration, and tells the test what it returned or threw.
export async function run(script) {
  try {
    say({ result: await script(JSON.parse(process.argv[2])) });
  } catch (e) {
    const causes = [];
    for (let cause = e; cause && causes.length < 5; cause = cause.cause) {
      causes.push(cause.stack ?? JSON.stringify(cause));
    }
    say({ error: causes.join("\ncaused by ") });
  }
  process.exit(0);
}
