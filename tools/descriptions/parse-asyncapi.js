// Fails, and says why, unless AsyncAPI's own parser takes the document.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const WARNING = 1;

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const found = diagnostics.filter(({ severity }) => severity <= WARNING);
for (const { code, message, path } of found) console.error(`${code}: ${message} (${path.join(".")})`);
if (document === undefined || found.length > 0) process.exit(1);
console.log(
  `AsyncAPI ${document.version()}: ${document.operations().all().length} operations, ` +
    `${document.allMessages().all().length} messages`,
);
