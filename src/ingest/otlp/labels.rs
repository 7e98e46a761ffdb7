//! Attributes of resources, scopes and points as the labels of a series.
//!
//! A series' labels are, later ones replacing earlier ones: the point's attributes (those whose names become the same are
//! joined by `;`), promoted attributes of the resource where the point has none of that name, `job` and `instance` from the
//! resource's identity, and, when the settings say so, what is known of the scope.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use super::super::decode_error::DecodeError;
use super::super::label_forms::{LABELS_MAX, LabelProblem, METRIC_NAME, SERIES_BYTES_MAX};
use super::super::protobuf::{Cursor, LENGTH, tag};
use super::any_value::{key_and_text, utf8};
use super::fault::Fault;
use super::names::LabelNamer;
use crate::config::{OtlpSettings, PromotedAttributes};

/// Attributes that say which target a resource is.
pub const SERVICE_NAME: &str = "service.name";
pub const SERVICE_NAMESPACE: &str = "service.namespace";
pub const SERVICE_INSTANCE: &str = "service.instance.id";

/// Label names built so far that are kept; a hostile request could have millions.
const NAMES_KEPT_MAX: usize = 4096;

/// Keys and texts, as they were sent.
pub type Attributes<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// A label's name, shared by all series that have it, and its value; an empty value is no label.
type Label<'a> = (Rc<str>, Cow<'a, str>);

/// Labels of a series without its metric name. No name stands twice.
#[derive(Clone, Debug, Default)]
pub struct LabelSet<'a> {
    labels: Vec<Label<'a>>,
}

impl<'a> LabelSet<'a> {
    /// The value, if it is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| &*label.0 == name).map(|label| &*label.1).filter(|value| !value.is_empty())
    }

    pub fn set(&mut self, name: Rc<str>, value: Cow<'a, str>) {
        match self.labels.iter_mut().find(|label| label.0 == name) {
            Some(label) => label.1 = value,
            None => self.labels.push((name, value)),
        }
    }

    /// Those that are a label of a series beside its metric name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.labels.iter().map(|(name, value)| (&**name, &**value));
        labels.filter(|(name, value)| !value.is_empty() && *name != METRIC_NAME)
    }

    fn bytes(&self) -> usize {
        self.labels.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// What all series of a resource have in common.
#[derive(Debug, Default)]
pub struct Resource<'a> {
    pub attributes: Attributes<'a>,
    job: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    promoted: LabelSet<'a>,
}

/// Reads the attributes that stand under a field of a message.
pub fn attributes<'a>(mut message: Cursor<'a>, field: u32) -> Result<Attributes<'a>, Fault> {
    let mut attributes = Vec::new();
    while !message.is_empty() {
        let found = message.tag()?;
        if found != field {
            message.skip(found)?;
            continue;
        }
        if attributes.len() == LABELS_MAX {
            return Err(Fault::Refused(LabelProblem::TooManyLabels.to_string()));
        }
        attributes.push(key_and_text(message.message()?)?);
    }
    Ok(attributes)
}

/// Builds labels by the settings; one for each request.
pub struct Labeller<'s, 'a> {
    settings: &'s OtlpSettings,
    namer: LabelNamer,
    names: HashMap<&'a str, Rc<str>>,
    job: Rc<str>,
    instance: Rc<str>,
}

impl<'s, 'a> Labeller<'s, 'a> {
    pub fn new(settings: &'s OtlpSettings) -> Labeller<'s, 'a> {
        let namer = LabelNamer {
            escape: settings.strategy.escapes(),
            underscore_sanitization: settings.label_name_underscore_sanitization,
            preserve_multiple_underscores: settings.label_name_preserve_multiple_underscores,
        };
        Labeller { settings, namer, names: HashMap::new(), job: Rc::from("job"), instance: Rc::from("instance") }
    }

    /// Everything that the series of a resource have from it.
    pub fn resource(&mut self, attributes: Attributes<'a>) -> Result<Resource<'a>, Fault> {
        let find = |key: &str| attributes.iter().find(|(found, _)| *found == key).map(|(_, value)| value.clone());
        let job = find(SERVICE_NAME).map(|name| match find(SERVICE_NAMESPACE) {
            Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
            None => name,
        });
        let instance = find(SERVICE_INSTANCE);
        let mut promoted = LabelSet::default();
        for (key, value) in &attributes {
            let is_promoted = match &self.settings.promoted {
                PromotedAttributes::AllExcept(keys) => !keys.contains(*key),
                PromotedAttributes::Only(keys) => keys.contains(*key),
            };
            if is_promoted {
                promoted.set(self.label_name(key)?, value.clone());
            }
        }
        Ok(Resource { attributes, job, instance, promoted })
    }

    /// The labels that promoted scope metadata become; none when they are not promoted or the scope has no name.
    pub fn scope(&mut self, scope: Cursor<'a>, schema_url: &'a str) -> Result<LabelSet<'a>, Fault> {
        let mut labels = LabelSet::default();
        let (name, version) = name_and_version(scope)?;
        if !self.settings.promote_scope_metadata || name.is_empty() {
            return Ok(labels);
        }
        for (key, value) in attributes(scope, tag(3, LENGTH))? {
            let name = self.namer.build(&format!("otel_scope_{key}")).map_err(Fault::Refused)?;
            labels.set(Rc::from(name), value);
        }
        for (label, value) in [("otel_scope_name", name), ("otel_scope_version", version), ("otel_scope_schema_url", schema_url)] {
            labels.set(Rc::from(label), Cow::Borrowed(value));
        }
        Ok(labels)
    }

    /// The labels of a point's series, without the metric name.
    pub fn point(&mut self, attributes: Attributes<'a>, resource: &Resource<'a>, scope: &LabelSet<'a>) -> Result<LabelSet<'a>, Fault> {
        let mut labels = self.own_labels(attributes)?;
        let own = labels.labels.len();
        for (name, value) in &resource.promoted.labels {
            match labels.labels[..own].iter_mut().find(|label| label.0 == *name) {
                Some(label) if label.1.is_empty() => label.1 = value.clone(),
                Some(_) => {}
                None => labels.labels.push((Rc::clone(name), value.clone())),
            }
        }
        self.add_identity(resource, &mut labels);
        for (name, value) in &scope.labels {
            labels.set(Rc::clone(name), value.clone());
        }
        if labels.bytes() > SERIES_BYTES_MAX {
            return Err(Fault::Refused(LabelProblem::SeriesTooLong.to_string()));
        }
        Ok(labels)
    }

    /// The labels of `target_info`; none when the resource says nothing beside its identity, or has no identity.
    pub fn target_info(&mut self, resource: &Resource<'a>) -> Result<Option<LabelSet<'a>>, Fault> {
        let identifies = |key: &str| [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE].contains(&key);
        if resource.attributes.iter().all(|(key, _)| identifies(key)) {
            return Ok(None);
        }
        let kept = |key: &str| self.settings.keep_identifying_resource_attributes || !identifies(key);
        let attributes = resource.attributes.iter().filter(|(key, _)| kept(key)).cloned().collect();
        let mut labels = self.own_labels(attributes)?;
        self.add_identity(resource, &mut labels);
        let is_identified = labels.get("job").or(labels.get("instance")).is_some();
        Ok(Some(labels).filter(|_| is_identified))
    }

    fn add_identity(&self, resource: &Resource<'a>, labels: &mut LabelSet<'a>) {
        for (name, value) in [(&self.job, &resource.job), (&self.instance, &resource.instance)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                labels.set(Rc::clone(name), value.clone());
            }
        }
    }

    fn own_labels(&mut self, mut attributes: Attributes<'a>) -> Result<LabelSet<'a>, Fault> {
        attributes.retain(|(key, _)| *key != METRIC_NAME);
        // In the order of the keys, so that what is joined does not depend on the sender's order.
        attributes.sort_by_key(|(key, _)| *key);
        let mut labels = LabelSet { labels: Vec::with_capacity(attributes.len() + 4) };
        for (key, value) in attributes {
            if !self.settings.strategy.escapes() {
                labels.set(self.shared(key, |key| Ok(key.to_string()))?, value);
                continue;
            }
            let name = self.label_name(key)?;
            match labels.get(&name) {
                Some(other) => {
                    let joined = format!("{other};{value}");
                    labels.set(name, Cow::Owned(joined));
                }
                None => labels.set(name, value),
            }
        }
        Ok(labels)
    }

    fn label_name(&mut self, key: &'a str) -> Result<Rc<str>, Fault> {
        let namer = self.namer;
        self.shared(key, |key| namer.build(key))
    }

    fn shared(&mut self, key: &'a str, build: impl FnOnce(&str) -> Result<String, String>) -> Result<Rc<str>, Fault> {
        if let Some(name) = self.names.get(key) {
            return Ok(Rc::clone(name));
        }
        let name: Rc<str> = Rc::from(build(key).map_err(Fault::Refused)?);
        if self.names.len() < NAMES_KEPT_MAX {
            self.names.insert(key, Rc::clone(&name));
        }
        Ok(name)
    }
}

/// `InstrumentationScope { string name = 1; string version = 2; repeated KeyValue attributes = 3; }`
fn name_and_version<'a>(mut scope: Cursor<'a>) -> Result<(&'a str, &'a str), DecodeError> {
    const NAME: u32 = tag(1, LENGTH);
    const VERSION: u32 = tag(2, LENGTH);
    let (mut name, mut version) = ("", "");
    while !scope.is_empty() {
        match scope.tag()? {
            NAME => name = utf8(&mut scope)?,
            VERSION => version = utf8(&mut scope)?,
            other => scope.skip(other)?,
        }
    }
    Ok((name, version))
}
