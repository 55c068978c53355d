"use strict";
// The documentation of the API, drawn from /openapi.json.
const METHODS = ["get", "post", "delete"];
let components = {};

const resolved = (schema) => schema?.$ref ? components[schema.$ref.split("/").pop()] : schema;

function typeText(schema) {
  schema = resolved(schema) || {};
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.anyOf || schema.oneOf || schema.allOf;
  if (choices) return choices.map(typeText).filter((text) => text !== "null").join(" | ");
  if (schema.type === "array") return `[${typeText(schema.items)}]`;
  return schema.format === "binary" ? "file" : schema.type || "any";
}

function limitsText(schema) {
  const {minimum, exclusiveMinimum, maximum, maxLength, minItems, maxItems} = schema;
  const parts = [[minimum, "≥"], [exclusiveMinimum, ">"], [maximum, "≤"], [maxLength, "length ≤"], [minItems, "items ≥"], [maxItems, "items ≤"]];
  const said = parts.filter(([value]) => value !== undefined).map(([value, sign]) => `${sign} ${value}`);
  if (schema.default !== undefined && typeof schema.default !== "object") said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join(", ");
}

function fieldRows(schema, prefix = "", required = []) {
  return Object.entries(resolved(schema)?.properties || {}).flatMap(([name, given]) => {
    const inner = resolved((given.anyOf || given.allOf || [given]).find((one) => resolved(one)?.type !== "null") || given);
    const facts = {...inner, ...given};
    const row = [prefix + name + (required.includes(name) ? " *" : ""), typeText(given), [limitsText(facts), given.description].filter(Boolean).join(" · ")];
    const below = inner?.type === "array" ? resolved(inner.items) : inner;
    const mark = inner?.type === "array" ? "[]." : ".";
    return [row, ...(below?.properties ? fieldRows(below, `${prefix}${name}${mark}`, below.required) : [])];
  });
}

// Text in which `names` stand between backticks.
function prose(text) {
  const node = element("span", "soft");
  node.append(...text.split("`").map((one, place) => place % 2 ? element("code", "", one) : one));
  return node;
}

function table(rows) {
  const node = element("table");
  for (const cells of rows) {
    const row = element("tr");
    row.append(...cells.map((text, place) => {
      const cell = element("td", place < 2 ? "code" : "", place < 2 ? text : "");
      if (place === 2) cell.append(prose(text));
      return cell;
    }));
    node.append(row);
  }
  return node;
}

function part(title, rows) {
  return rows.length ? [element("h3", "", title), table(rows)] : [];
}

function bodyParts(body) {
  return Object.entries(body?.content || {}).flatMap(([type, {schema}]) => part(`Body, ${type}`, fieldRows(schema, "", resolved(schema)?.required)));
}

function answerParts(responses) {
  const good = responses["200"]?.content?.["application/json"]?.schema;
  const codes = Object.entries(responses).map(([code, {description}]) => [code, "", description]);
  return [...part("Answer 200", fieldRows(good)), ...part("Codes", codes)];
}

function call(method, path, operation) {
  const node = element("details", "call");
  const summary = element("summary");
  summary.append(element("b", "", method.toUpperCase()), element("code", "", path), prose(operation.description || ""));
  const parameters = (operation.parameters || []).map((one) => [one.name + (one.required ? " *" : ""), `${one.in}: ${typeText(one.schema)}`, one.description || limitsText(one.schema)]);
  node.append(summary, ...part("Parameters", parameters), ...bodyParts(operation.requestBody), ...answerParts(operation.responses));
  return node;
}

async function draw() {
  const response = await fetch("/openapi.json");
  const {paths, components: {schemas}} = await response.json();
  components = schemas;
  for (const [path, operations] of Object.entries(paths)) {
    $("calls").append(...METHODS.filter((method) => operations[method]).map((method) => call(method, path, operations[method])));
  }
  document.documentElement.dataset.ready = "yes";
}
draw();
