//! The module tree of a crate, and which of its files imports which, read from the code itself.
//!
//! A *file* is the unit: inline modules belong to the file that they stand in. A file imports another when one of its
//! paths (in a `use` line, or written out in code) leads there. Re-exports are followed: `use crate::Pool` is an import of
//! the file that defines `Pool`, not of `lib.rs`. Test modules are left out, and so are `mod` lines: a parent that only
//! declares its children does not import them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// The names from the crate's root to a module.
type ModulePath = Vec<String>;

/// What one module defines and imports.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    children: HashSet<String>,
    defines: HashSet<String>,
    /// From a name to the path that it stands for, as written.
    imports: HashMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// All paths that the code mentions, as written.
    mentions: BTreeSet<Vec<String>>,
}

/// A crate as its modules.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads the crate whose root file is `root` (`src/lib.rs` or `src/main.rs`).
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let folder = root.parent().expect("a root file lies in a folder");
        tree.read_file(root, folder, Vec::new());
        tree
    }

    /// From each file to the files that it imports, as paths below the root file's folder.
    pub(crate) fn imports(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut edges: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let from = edges.entry(module.file.clone()).or_default();
            let written = module.imports.values().chain(&module.globs).chain(&module.mentions);
            from.extend(written.filter_map(|written| self.resolve(path, written, 0)));
            from.remove(&module.file);
        }
        edges
    }

    fn read_file(&mut self, file: &Path, folder: &Path, path: ModulePath) {
        let text = fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
        let parsed = syn::parse_file(&text)
            .unwrap_or_else(|error| panic!("{} cannot be parsed: {error}", file.display()));
        self.read_items(&parsed.items, file, folder, path);
    }

    /// Reads the items of one module; files of child modules lie in `folder`.
    fn read_items(&mut self, items: &[Item], file: &Path, folder: &Path, path: ModulePath) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut mentions = Mentions::default();
        for item in items {
            match item {
                Item::Mod(child) if is_for_tests(&child.attrs) => {}
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let mut child_path = path.clone();
                    child_path.push(name.clone());
                    let child_folder = folder.join(&name);
                    module.children.insert(name.clone());
                    match &child.content {
                        Some((_, items)) => {
                            self.read_items(items, file, &child_folder, child_path);
                        }
                        None => {
                            let candidates = [
                                path_attribute(&child.attrs).map(|path| file.with_file_name(path)),
                                Some(folder.join(format!("{name}.rs"))),
                                Some(child_folder.join("mod.rs")),
                            ];
                            let mut found = candidates.into_iter().flatten();
                            let child_file = found.find(|file| file.exists());
                            let child_file = child_file.expect("a module has a file");
                            self.read_file(&child_file, &child_folder, child_path);
                        }
                    }
                }
                Item::Use(line) if is_for_tests(&line.attrs) => {}
                Item::Use(line) => module.note_use(&line.tree, &mut Vec::new()),
                other => {
                    module.defines.extend(name_of(other));
                    mentions.visit_item(other);
                }
            }
        }
        module.mentions = mentions.0;
        self.modules.insert(path, module);
    }

    /// The file that a path leads to, as seen from a module; `None` if it leads out of the crate.
    fn resolve(&self, from: &ModulePath, written: &[String], depth: usize) -> Option<PathBuf> {
        // Re-exports of re-exports end; a cycle of globs does not.
        if depth > 16 {
            return None;
        }
        let mut at = from.clone();
        let mut names = written;
        let mut anchored = false;
        while let [first, rest @ ..] = names {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => _ = at.pop(),
                _ => break,
            }
            (names, anchored) = (rest, true);
        }
        let mut inside = anchored;
        while let [first, rest @ ..] = names {
            let module = self.modules.get(&at)?;
            if module.children.contains(first) {
                at.push(first.clone());
                (names, inside) = (rest, true);
                continue;
            }
            if module.defines.contains(first) {
                return Some(module.file.clone());
            }
            if let Some(target) = module.imports.get(first) {
                // A name that is imported under itself is a crate or a mistake of the reader.
                if target == written && at == *from {
                    return None;
                }
                let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
                return self.resolve(&at, &whole, depth + 1);
            }
            let through_glob = module.globs.iter().find_map(|glob| {
                let whole: Vec<String> = glob.iter().chain(names).cloned().collect();
                self.resolve(&at, &whole, depth + 1)
            });
            return through_glob.or_else(|| inside.then(|| module.file.clone()));
        }
        self.modules.get(&at).map(|module| module.file.clone())
    }
}

impl Module {
    fn note_use(&mut self, tree: &UseTree, prefix: &mut Vec<String>) {
        let ended = |prefix: &[String], name: String| {
            let mut path = prefix.to_vec();
            if name != "self" {
                path.push(name);
            }
            path
        };
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.note_use(&path.tree, prefix);
                prefix.pop();
            }
            UseTree::Name(name) => {
                let path = ended(prefix, name.ident.to_string());
                self.imports.extend(path.last().cloned().map(|last| (last, path)));
            }
            UseTree::Rename(rename) => {
                let path = ended(prefix, rename.ident.to_string());
                self.imports.insert(rename.rename.to_string(), path);
            }
            UseTree::Glob(_) => self.globs.push(prefix.clone()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_use(tree, prefix);
                }
            }
        }
    }
}

/// Collects the paths of more than one segment that code mentions.
#[derive(Debug, Default)]
struct Mentions(BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {
        // Each module collects its own.
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 && path.leading_colon.is_none() {
            self.0.insert(names);
        }
        visit::visit_path(self, path);
    }
}

/// The name that an item brings into its module.
fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(name.to_string())
}

/// Whether attributes say that an item is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string().replace(' ', "");
        let mut words = condition.split(|letter: char| !letter.is_alphanumeric());
        list.path.is_ident("cfg")
            && words.any(|word| word == "test")
            && !condition.contains("not(test)")
    })
}

/// The value of `#[path = ".."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(value), .. }) = &pair.value else {
            return None;
        };
        pair.path.is_ident("path").then(|| value.value())
    })
}
