//! What of a WIT package a component can depend on, as text that can be compared: the shapes of types and functions, and
//! what each world holds. Comments are not of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{FunctionKind, Handle, Resolve, SourceMap, Type, TypeDefKind, TypeOwner, WorldItem, WorldKey};

/// A package.
#[derive(Debug)]
pub struct Surface {
    /// Its version.
    pub version: Version,
    /// Its interfaces, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Its worlds, by name: `import NAME` and `export NAME`.
    pub worlds: BTreeMap<String, BTreeSet<String>>,
}

/// The types of an interface, also those it uses of others, and its functions: each with its shape.
pub type Interface = BTreeMap<String, String>;

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// With the first, the track.
    pub minor: u64,
    /// The place in the track.
    pub patch: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The WIT files of a directory, with their names, sorted.
///
/// # Errors
/// It cannot be read.
pub fn files(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text));
        }
    }
    files.sort();
    Ok(files)
}

impl Surface {
    /// Of the package in a directory.
    ///
    /// # Errors
    /// It is none.
    pub fn read(directory: &Path) -> Result<Surface> {
        Surface::of(&files(directory)?).with_context(|| format!("{} is no package", directory.display()))
    }

    /// Of the package in these files.
    ///
    /// # Errors
    /// They are none.
    pub fn of(files: &[(String, String)]) -> Result<Surface> {
        let mut sources = SourceMap::new();
        for (name, text) in files {
            sources.push_str(name, text.clone());
        }
        let group = sources.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group).map_err(|error| anyhow::anyhow!("{error}"))?;
        let shapes = Shapes(&resolve);
        let package = resolve.packages.get(package).context("the package is not there")?;
        let version = package.name.version.as_ref().context("the package has no version")?;
        let interfaces = package.interfaces.iter().filter_map(|(name, id)| {
            let interface = resolve.interfaces.get(*id)?;
            let types = interface.types.iter().map(|(name, id)| (format!("type `{name}`"), shapes.definition(*id)));
            let functions = interface.functions.values();
            let functions =
                functions.map(|function| (format!("function `{}`", function.name), shapes.function(function)));
            Some((name.clone(), types.chain(functions).collect()))
        });
        let worlds = package.worlds.iter().filter_map(|(name, id)| {
            let world = resolve.worlds.get(*id)?;
            let items = |direction: &str, items: Vec<(&WorldKey, &WorldItem)>| -> Vec<String> {
                items.into_iter().map(|(key, item)| shapes.item(direction, key, item)).collect()
            };
            let imports = items("import", world.imports.iter().collect());
            let exports = items("export", world.exports.iter().collect());
            Some((name.clone(), imports.into_iter().chain(exports).collect()))
        });
        Ok(Surface {
            version: Version { major: version.major, minor: version.minor, patch: version.patch },
            interfaces: interfaces.collect(),
            worlds: worlds.collect(),
        })
    }

    /// Whether components export this interface: then it is as they have it, for good.
    pub fn exports(&self, interface: &str) -> bool {
        let item = format!("export {interface}");
        self.worlds.values().any(|items| items.contains(&item))
    }
}

/// Writes types and functions down.
struct Shapes<'a>(&'a Resolve);

impl Shapes<'_> {
    fn function(&self, function: &wit_parser::Function) -> String {
        let parameters: Vec<String> =
            function.params.iter().map(|given| format!("{}: {}", given.name, self.reference(&given.ty))).collect();
        let keyword = match function.kind {
            FunctionKind::Freestanding => "func",
            FunctionKind::AsyncFreestanding => "async func",
            // The name tells a resource's functions apart: "[method]body.read".
            _ => "func of a resource",
        };
        let result = function.result.as_ref().map(|result| format!(" -> {}", self.reference(result)));
        format!("{keyword}({}){}", parameters.join(", "), result.unwrap_or_default())
    }

    /// What stands behind a type's name.
    fn definition(&self, id: wit_parser::TypeId) -> String {
        match self.0.types.get(id) {
            Some(definition) => self.kind(&definition.kind),
            None => "?".to_owned(),
        }
    }

    /// A type as it is mentioned: by the name it was given where it was first given one.
    fn reference(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let Some(definition) = self.0.types.get(*id) else { return "?".to_owned() };
        let owner = match definition.owner {
            TypeOwner::Interface(id) => self.0.interfaces.get(id).and_then(|interface| interface.name.as_deref()),
            _ => None,
        };
        match (&definition.kind, &definition.name, owner) {
            // Another name for the same.
            (TypeDefKind::Type(ty), _, _) => self.reference(ty),
            (_, Some(name), Some(owner)) => format!("{owner}.{name}"),
            (_, Some(name), None) => name.clone(),
            (kind, None, _) => self.kind(kind),
        }
    }

    fn kind(&self, kind: &TypeDefKind) -> String {
        let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| self.reference(ty));
        let list = |parts: Vec<String>| parts.join(", ");
        match kind {
            TypeDefKind::Record(record) => {
                let field = |field: &wit_parser::Field| format!("{}: {}", field.name, self.reference(&field.ty));
                format!("record {{ {} }}", list(record.fields.iter().map(field).collect()))
            }
            TypeDefKind::Variant(variant) => {
                let case = |case: &wit_parser::Case| match &case.ty {
                    Some(ty) => format!("{}({})", case.name, self.reference(ty)),
                    None => case.name.clone(),
                };
                format!("variant {{ {} }}", list(variant.cases.iter().map(case).collect()))
            }
            TypeDefKind::Enum(cases) => {
                format!("enum {{ {} }}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
            }
            TypeDefKind::Flags(flags) => {
                format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
            }
            TypeDefKind::Tuple(tuple) => {
                format!("tuple<{}>", list(tuple.types.iter().map(|ty| self.reference(ty)).collect()))
            }
            TypeDefKind::Option(ty) => format!("option<{}>", self.reference(ty)),
            TypeDefKind::Result(result) => format!("result<{}, {}>", optional(&result.ok), optional(&result.err)),
            TypeDefKind::List(ty) => format!("list<{}>", self.reference(ty)),
            TypeDefKind::FixedLengthList(ty, length) => format!("list<{}, {length}>", self.reference(ty)),
            TypeDefKind::Map(key, value) => format!("map<{}, {}>", self.reference(key), self.reference(value)),
            TypeDefKind::Future(ty) => format!("future<{}>", optional(ty)),
            TypeDefKind::Stream(ty) => format!("stream<{}>", optional(ty)),
            TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", self.reference(&Type::Id(*id))),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.reference(&Type::Id(*id))),
            TypeDefKind::Type(ty) => self.reference(ty),
            TypeDefKind::Resource => "resource".to_owned(),
            TypeDefKind::Unknown => "?".to_owned(),
        }
    }

    fn item(&self, direction: &str, key: &WorldKey, item: &WorldItem) -> String {
        let name = match key {
            WorldKey::Name(name) => name.clone(),
            WorldKey::Interface(id) => {
                self.0.interfaces.get(*id).and_then(|interface| interface.name.clone()).unwrap_or_default()
            }
        };
        match item {
            WorldItem::Interface { .. } => format!("{direction} {name}"),
            WorldItem::Function(function) => format!("{direction} {name}: {}", self.function(function)),
            WorldItem::Type { id, .. } => format!("{direction} type {name} = {}", self.definition(*id)),
        }
    }
}
