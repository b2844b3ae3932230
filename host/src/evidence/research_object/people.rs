//! Who answers for the run, who gave it commands, and under which licence it may be used.
use super::graph::{Entity, Graph, encoded};
use crate::model::about::{About, Author};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The people of a crate: its authors, and every user who is met.
#[derive(Debug)]
pub(super) struct People<'a> {
    about: &'a About,
    /// The users who are no authors, and their numbers where they are known.
    users: BTreeMap<String, Option<u32>>,
}

impl<'a> People<'a> {
    pub(super) fn new(about: &'a About) -> Self {
        Self { about, users: BTreeMap::new() }
    }

    /// The id of a user.
    pub(super) fn user(&mut self, name: &str, number: Option<u32>) -> String {
        let is = |author: &&Author| author.user.as_ref().is_some_and(|user| user.as_str() == name);
        if let Some(author) = self.about.authors.iter().find(is) {
            return author_id(author);
        }
        let known = self.users.entry(name.to_owned()).or_default();
        *known = known.or(number);
        user_id(name)
    }

    /// The ids of the authors.
    pub(super) fn authors(&self) -> BTreeSet<String> {
        self.about.authors.iter().map(author_id).collect()
    }

    /// The institution that stands behind the crate: that of the first author who names one.
    pub(super) fn publisher(&self) -> Option<String> {
        self.about.authors.iter().find_map(organization_id)
    }

    /// Says the licence of the crate.
    pub(super) fn license(&self, root: Entity) -> Entity {
        match &self.about.license {
            Some(license) => root.link("license", license.address().as_deref().unwrap_or("#license")),
            // A crate has to say something, and what nobody has given may not be given here.
            None => root.text("license", "No licence is stated: whoever wants to use this asks those who made it."),
        }
    }

    /// Describes all of them.
    pub(super) fn write(&self, graph: &mut Graph<'_>) -> io::Result<()> {
        // an address names one thing, whoever gives it
        let mut seen = BTreeSet::new();
        if let Some(license) = &self.about.license {
            let address = license.address();
            let id = address.as_deref().unwrap_or("#license");
            let entity = Entity::new(id, &["CreativeWork"]).text("name", license.name());
            graph.add(&entity.text("description", &format!("The licence of this crate: {}", license.name())))?;
            seen.insert(id.to_owned());
        }
        for author in &self.about.authors {
            let organization = organization_id(author);
            if seen.insert(author_id(author)) {
                let entity = Entity::new(&author_id(author), &["Person"]).text("name", author.name.as_str());
                let entity = entity.maybe("identifier", author.orcid.as_ref().map(|orcid| orcid.address()).as_deref());
                graph.add(&entity.links("affiliation", &organization))?;
            }
            if let Some((id, name)) = organization.zip(author.affiliation.as_ref())
                && seen.insert(id.clone())
            {
                let entity = Entity::new(&id, &["Organization"]).text("name", name.as_str());
                graph.add(&entity.maybe("url", author.affiliation_url.as_ref().map(|url| url.as_str())))?;
            }
        }
        for (name, number) in &self.users {
            let entity = Entity::new(&user_id(name), &["Person"]).text("name", name);
            let number = number.map(|number| format!("uid {number}"));
            graph.add(&entity.maybe("identifier", number.as_deref()))?;
        }
        Ok(())
    }
}

fn user_id(name: &str) -> String {
    format!("#user-{}", encoded(name))
}

fn author_id(author: &Author) -> String {
    author.orcid.as_ref().map_or_else(|| format!("#author-{}", encoded(author.name.as_str())), |orcid| orcid.address())
}

fn organization_id(author: &Author) -> Option<String> {
    let name = author.affiliation.as_ref()?;
    let url = author.affiliation_url.as_ref().map(|url| url.as_str().to_owned());
    Some(url.unwrap_or_else(|| format!("#organization-{}", encoded(name.as_str()))))
}
