//! Checks that a facade names every type that its public items mention (fields, variants, methods, associated types),
//! so that users do not need the inner crate.
//!
//! The input is rustdoc's JSON. The code relies on the module tree, and on paths to types being objects with `path`,
//! `id` and `args`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Its crate and its name.
type Name = (String, String);

/// By name.
#[derive(Debug, Default)]
pub(super) struct Crates(BTreeMap<String, Value>);

impl Crates {
    pub(super) fn insert(&mut self, name: &str, json: Value) {
        self.0.insert(name.to_owned(), json);
    }

    /// As sentences.
    pub(super) fn unnamed_by(&self, facade: &str) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        self.gather_from(&(facade.to_owned(), facade.to_owned()), &mut named);
        let mut unnamed = BTreeSet::new();
        for name in &named {
            for (mentioned, by) in self.mentions(name) {
                if self.0.contains_key(&mentioned.0) && !named.contains(&mentioned) {
                    unnamed.insert(format!("{}::{}, needed by {by}", mentioned.0, mentioned.1));
                }
            }
        }
        unnamed
    }

    fn gather_from(&self, (krate, module): &Name, named: &mut BTreeSet<Name>) {
        let Some(json) = self.0.get(krate) else { return };
        if krate == module {
            return self.gather_module(json, &json["root"], named);
        }
        let items = json["index"].as_object().into_iter().flat_map(|index| index.values());
        let is_it = |found: &&Value| {
            found["name"] == *module.as_str() && found["inner"]["module"].is_object()
        };
        items.filter(is_it).for_each(|found| self.gather_module(json, &found["id"], named));
    }

    fn gather_module(&self, json: &Value, id: &Value, named: &mut BTreeSet<Name>) {
        for child in array(&item(json, id)["inner"]["module"]["items"]) {
            let found = item(json, child);
            let inner = &found["inner"];
            if found["visibility"] != "public" {
                continue;
            } else if inner["module"].is_object() {
                self.gather_module(json, child, named);
            } else if let Some(used) = inner["use"].as_object() {
                let Some(name) = name_of(json, &used["id"]) else { continue };
                let is_module = json["paths"][used["id"].to_string()]["kind"] == "module";
                match (is_module, used["is_glob"] == true) {
                    // One module under its name, or all its items.
                    (true, _) => self.gather_from(&name, named),
                    // The variants of an enum.
                    (false, true) => {}
                    (false, false) => _ = named.insert(name),
                }
            } else if let Some(name) = name_of(json, child) {
                named.insert(name);
            }
        }
    }

    /// Each mentioned type with the item.
    fn mentions(&self, (krate, name): &Name) -> Vec<(Name, String)> {
        let Some(json) = self.0.get(krate) else { return Vec::new() };
        let mut mentions = Vec::new();
        for found in json["index"].as_object().into_iter().flat_map(|index| index.values()) {
            let is_it = found["name"] == *name.as_str() && found["crate_id"] == 0;
            let kinds = ["struct", "enum", "union", "trait", "function", "type_alias"];
            if is_it && kinds.iter().any(|kind| found["inner"][*kind].is_object()) {
                let is_free = json["paths"].get(found["id"].to_string()).is_some();
                if is_free {
                    self.mentions_of(json, found, &format!("{krate}::{name}"), &mut mentions);
                }
            }
        }
        mentions
    }

    fn mentions_of(&self, json: &Value, found: &Value, by: &str, out: &mut Vec<(Name, String)>) {
        let inner = &found["inner"];
        for kind in
            ["function", "type_alias", "assoc_type", "assoc_const", "struct_field", "constant"]
        {
            collect(json, &inner[kind], by, out);
        }
        for kind in ["struct", "enum", "union", "trait"] {
            collect(json, &inner[kind]["generics"], by, out);
            collect(json, &inner[kind]["bounds"], by, out);
        }
        let plain = &inner["struct"]["kind"]["plain"]["fields"];
        let variants =
            [&inner["variant"]["kind"]["struct"]["fields"], &inner["variant"]["kind"]["tuple"]];
        let parts = [
            plain,
            &inner["struct"]["kind"]["tuple"],
            &inner["enum"]["variants"],
            &inner["trait"]["items"],
            variants[0],
            variants[1],
        ];
        for part in parts.into_iter().flat_map(array) {
            let part = item(json, part);
            // Variants, their fields and items of traits are as public as their parent.
            if part["visibility"] == "public" || part["visibility"] == "default" {
                self.mentions_of(json, part, &part_name(by, part), out);
            }
        }
        let impls = ["struct", "enum", "union"].map(|kind| &inner[kind]["impls"]);
        for id in impls.into_iter().flat_map(array) {
            let implemented = &item(json, id)["inner"]["impl"];
            let of_trait = !implemented["trait"].is_null();
            for part in array(&implemented["items"]).map(|id| item(json, id)) {
                // The trait declares its methods; an implementation only adds the associated types.
                let counts = if of_trait {
                    part["inner"]["assoc_type"].is_object()
                } else {
                    part["visibility"] == "public"
                };
                if counts {
                    self.mentions_of(json, part, &part_name(by, part), out);
                }
            }
        }
    }
}

fn part_name(by: &str, part: &Value) -> String {
    format!("{by}::{}", part["name"].as_str().unwrap_or("_"))
}

fn collect(json: &Value, value: &Value, by: &str, out: &mut Vec<(Name, String)>) {
    match value {
        Value::Object(fields) => {
            let is_path = ["path", "id", "args"].iter().all(|key| fields.contains_key(*key));
            if is_path && let Some(name) = name_of(json, &fields["id"]) {
                out.push((name, by.to_owned()));
            }
            fields.values().for_each(|value| collect(json, value, by, out));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(json, value, by, out)),
        _ => {}
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn item<'a>(json: &'a Value, id: &Value) -> &'a Value {
    &json["index"][id.to_string()]
}

fn name_of(json: &Value, id: &Value) -> Option<Name> {
    let path = json["paths"][id.to_string()]["path"].as_array()?;
    Some((path.first()?.as_str()?.to_owned(), path.last()?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inner() -> Value {
        let path = json!({ "resolved_path": { "path": "Part", "id": 3, "args": null } });
        json!({
            "root": 0,
            "index": {
                "0": { "id": 0, "crate_id": 0, "visibility": "public", "inner": { "module": { "items": [1, 3] } } },
                "1": { "id": 1, "crate_id": 0, "name": "Shown", "visibility": "public", "inner": { "struct": {
                    "kind": { "plain": { "fields": [2] } }, "generics": {}, "impls": [] } } },
                "2": { "id": 2, "crate_id": 0, "name": "part", "visibility": "public", "inner": { "struct_field": path } },
                "3": { "id": 3, "crate_id": 0, "name": "Part", "visibility": "public", "inner": { "struct": {
                    "kind": "unit", "generics": {}, "impls": [] } } },
            },
            "paths": {
                "1": { "path": ["inner", "Shown"] },
                "3": { "path": ["inner", "Part"] },
            },
        })
    }

    fn facade(names: &[(&str, u32)], is_glob: bool) -> Value {
        let mut index = json!({ "0": { "id": 0, "crate_id": 0, "visibility": "public", "inner": { "module": {
            "items": (1..=names.len()).collect::<Vec<_>>() } } } });
        let mut paths = json!({});
        for (at, (name, id)) in (1..).zip(names) {
            index[at.to_string()] = json!({ "id": at, "crate_id": 0, "visibility": "public",
                "inner": { "use": { "id": id, "is_glob": is_glob } } });
            let kind = if is_glob { "module" } else { "struct" };
            let path: &[&str] = if is_glob { &["inner"] } else { &["inner", name] };
            paths[id.to_string()] = json!({ "path": path, "kind": kind });
        }
        json!({ "root": 0, "index": index, "paths": paths })
    }

    fn unnamed(facade: Value) -> Vec<String> {
        let mut crates = Crates::default();
        crates.insert("inner", inner());
        crates.insert("facade", facade);
        crates.unnamed_by("facade").into_iter().collect()
    }

    #[test]
    fn the_type_of_a_public_field_must_be_named() {
        let said = unnamed(facade(&[("Shown", 91)], false));
        assert_eq!(said, ["inner::Part, needed by inner::Shown::part"]);
    }

    #[test]
    fn a_facade_that_names_all_is_right() {
        assert!(unnamed(facade(&[("Shown", 91), ("Part", 92)], false)).is_empty());
        assert!(unnamed(facade(&[("inner", 90)], true)).is_empty());
    }
}
