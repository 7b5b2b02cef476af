/** Writes src/api/schema.ts from the station's committed OpenAPI; `--check` refuses a file that is out of date.
 *  An own page of code, because the usual generators need the JavaScript interface of TypeScript 5. */

import { readFileSync, writeFileSync } from "node:fs";

const SOURCE = "../../docs/reference/openapi.json";
const TARGET = "src/api/schema.ts";
/** What the screen is told, and what it sends; whatever they name comes with them. */
const ROOTS = ["LaneView", "DecisionBody", "ImageReadBody", "ReceivedBody", "ObservationBody", "ScreenBody", "ProblemBody", "ImageFacts", "ProfileView", "DayStats"];
const SCALARS = { string: "string", integer: "number", number: "number", boolean: "boolean", null: "null" };

const { schemas } = JSON.parse(readFileSync(SOURCE, "utf8")).components;
const written = new Map();

const union = (parts) => [...new Set(parts)].join(" | ");
const wrapped = (type) => (type.includes(" | ") ? `(${type})` : type);

function type(schema) {
  if (schema.$ref) return named(schema.$ref.split("/").pop());
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.anyOf ?? schema.oneOf) return union((schema.anyOf ?? schema.oneOf).map(type));
  if (schema.prefixItems) return `[${schema.prefixItems.map(type).join(", ")}]`;
  if (schema.type === "array") return `${wrapped(type(schema.items ?? {}))}[]`;
  if (schema.type === "object") return `Record<string, ${type(schema.additionalProperties || {})}>`;
  return SCALARS[schema.type] ?? "unknown";
}

/** A member with a default may be left out of a request; the station's answers name every member. */
function members(name, { properties, required = [] }) {
  return Object.entries(properties).map(([member, schema]) => {
    const optional = name.endsWith("Body") && !required.includes(member) ? "?" : "";
    return `  ${member}${optional}: ${type(schema)};`;
  });
}

function named(name) {
  const schema = schemas[name];
  if (schema && !written.has(name)) {
    written.set(name, "");
    written.set(name, schema.properties
      ? `export interface ${name} {\n${members(name, schema).join("\n")}\n}`
      : `export type ${name} = ${type(schema)};`);
  }
  return name;
}

ROOTS.filter((name) => name in schemas).forEach(named);
const head = "/** Made by `npm run types` from docs/reference/openapi.json: change the station's models, not this file. */";
const text = `${[head, ...[...written.keys()].sort().map((name) => written.get(name))].join("\n\n")}\n`;

if (!process.argv.includes("--check")) {
  writeFileSync(TARGET, text);
} else if (readFileSync(TARGET, "utf8") !== text) {
  console.error(`${TARGET} is not what docs/reference/openapi.json says: run \`npm run types\` in station/web`);
  process.exitCode = 1;
}
