"use strict";
// Renders /openapi.json. All text is set as text, never as markup.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Text in which `backticks` become code.
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function resolve(description, schema) {
  if (!schema || !schema.$ref) return schema ?? {};
  return description.components.schemas[schema.$ref.split("/").pop()] ?? {};
}

// One example value of a schema, for people to start from.
function example(description, schema, depth = 0) {
  const found = resolve(description, schema);
  if (found.examples) return found.examples[0];
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  if (depth > 6) return null;
  const first = found.oneOf?.[0] ?? found.anyOf?.[0];
  if (first) return example(description, first, depth + 1);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (type === "object") {
    return Object.fromEntries(
      Object.entries(found.properties ?? {}).map(([name, inner]) => [name, example(description, inner, depth + 1)]),
    );
  }
  if (type === "array") return [example(description, found.items, depth + 1)];
  if (type === "integer" || type === "number") return found.minimum ?? 0;
  if (type === "boolean") return true;
  if (type === "null") return null;
  return "…";
}

function members(description, schema) {
  const found = resolve(description, schema);
  const rows = Object.entries(found.properties ?? {}).map(([name, inner]) => {
    const target = resolve(description, inner);
    const needed = (found.required ?? []).includes(name) ? "required" : "";
    return element("tr", {}, element("td", {}, element("code", {}, name)), element("td", {}, needed),
      element("td", {}, ...prose(inner.description ?? target.description ?? "")));
  });
  return rows.length ? element("table", {}, element("tbody", {}, ...rows)) : null;
}

function json(value) {
  return element("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

function content(description, holder) {
  const media = holder?.content ?? {};
  return Object.entries(media).flatMap(([type, { schema }]) => [
    element("p", {}, element("code", {}, type)),
    schema ? members(description, schema) : null,
    schema && type === "application/json" ? json(example(description, schema)) : null,
  ]);
}

function operation(description, path, method, found) {
  const parameters = (found.parameters ?? []).map((one) => resolve(description, one));
  const rows = parameters.map((one) => element("tr", {}, element("td", {}, element("code", {}, one.name)),
    element("td", {}, one.in), element("td", {}, ...prose(one.description ?? ""))));
  const body = element("div", { class: "body" });
  if (found.description) body.append(element("p", {}, found.description));
  if (rows.length) body.append(element("h3", {}, "Parameters"), element("table", {}, element("tbody", {}, ...rows)));
  if (found.requestBody) body.append(element("h3", {}, "Body"), ...content(description, found.requestBody).filter(Boolean));
  for (const [status, answer] of Object.entries(found.responses)) {
    body.append(element("h3", {}, `${status}: ${answer.description}`));
    if (status !== "default") body.append(...content(description, answer).filter(Boolean));
  }
  return element("details", { id: found.operationId, "data-text": `${method} ${path} ${found.summary} ${found.tags}`.toLowerCase() },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()),
      element("span", { class: "path" }, path), element("span", { class: "what" }, found.summary)), body);
}

function render(description) {
  document.getElementById("title").textContent = `${description.info.title} ${description.info.version}`;
  document.getElementById("description").replaceChildren(...prose(description.info.description));
  const groups = new Map(description.tags.map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, found] of Object.entries(methods)) {
      if (found.operationId) groups.get(found.tags[0])?.push(operation(description, path, method, found));
    }
  }
  const main = document.getElementById("operations");
  const contents = document.getElementById("contents");
  main.replaceChildren();
  for (const tag of description.tags) {
    main.append(element("section", { id: tag.name, "aria-label": tag.name }, element("h2", {}, tag.name),
      element("p", {}, ...prose(tag.description ?? "")), ...groups.get(tag.name)));
    contents.append(element("a", { href: `#${tag.name}` }, tag.name));
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const one of main.querySelectorAll("details")) one.hidden = !one.dataset.text.includes(wanted);
  });
}

fetch("/openapi.json").then((answer) => answer.json()).then(render).catch((error) => {
  document.getElementById("operations").textContent = `The description could not be loaded: ${error}`;
});
