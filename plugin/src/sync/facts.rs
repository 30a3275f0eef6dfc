//! What the provider has said about one incident, kept beside its record.
//!
//! [`Facts::merge`] is where order stops mattering: the newest snapshot wins by the provider's own version,
//! updates are a set by id. Holds what a record or a timeline is derived from and nothing else: no summary, no
//! message, no post-mortem.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::timeline;
use crate::incidentio::payload::{FieldValue, Incident, Participant, Update, User};
use crate::model::Timestamp;
use koalr_codec::json::{Slot, object};
use koalr_codec::stored::{self, Field, Fields, Value};

/// Everything known about one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The newest version of the incident itself.
    pub snapshot: Snapshot,
    /// Its updates, oldest first, then by id.
    pub updates: Vec<Update>,
    /// The incident's version up to which `updates` is known to be complete. None if that depends on what was read
    /// of the organisation's updates as a whole.
    pub updates_as_of: Option<Timestamp>,
    /// The incident's version up to which the stored timeline is known to be complete.
    pub timeline_as_of: Option<Timestamp>,
    /// When somebody first acknowledged, by the activity log that `timeline_as_of` speaks of.
    pub acknowledged_at: Option<Timestamp>,
    /// Status changes told by deliveries and not yet covered by `updates`, oldest first.
    pub told: Vec<Told>,
    /// When the provider no longer showed the incident to this key; an answer of later proves otherwise.
    pub hidden_at: Option<Timestamp>,
    /// When points in the incident's life were last set, by the activity log that `timeline_as_of` speaks of.
    pub set: Vec<Set>,
    /// Who took part, as read with the timeline.
    pub participants: Vec<Participant>,
    /// What else it is known by, as read with the timeline.
    pub references: Vec<String>,
}

/// What [`Facts::withhold`] leaves for a visibility.
const WITHHELD: &str = "withheld";
/// For `updates_as_of`: some are missing, whatever was read of the organisation's updates.
const INCOMPLETE: Timestamp = Timestamp::MIN;

/// The incident as one answer or delivery showed it, with the times that it is ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it said. Shared, because a merge is repeated after a conflict.
    pub incident: Rc<Incident>,
    /// When it was created, if that can be read.
    pub created_at: Option<Timestamp>,
    /// Its version. Of one that tells none, its creation, else its last activity, else 0.
    pub updated_at: Timestamp,
    /// When anything last happened to it, its version's time included.
    pub active_at: Timestamp,
}

/// When a named point in the incident's life was last set, which may be long after the time that it was set to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// The organisation's name for the point.
    pub name: String,
    /// When it was set.
    pub at: Option<Timestamp>,
}

object!(Set { "name" => Text name, "at" => Instant at });

/// A status change that a delivery told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// The version of the incident that it made.
    pub at: Timestamp,
    /// The new status category.
    pub category: String,
}

/// What one piece of news adds. At most one snapshot, any number of updates.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// The provider's identifier of the incident.
    pub id: String,
    /// The incident itself.
    pub snapshot: Option<Snapshot>,
    /// When `snapshot` was asked for; none if it came with a delivery. Names can change without a new version, so
    /// an answer replaces an equal version; a delivery, which may be late, does not.
    pub read_at: Option<Timestamp>,
    /// Whether the organisation's updates will be read as a whole after this, so that this incident's are among them.
    pub imported: bool,
    /// Updates of this incident; those without id or time are left out.
    pub updates: Vec<Update>,
    /// With the above: the version up to which they are all there is.
    pub updates_as_of: Option<Timestamp>,
    /// The version up to which the timeline written with this news is complete.
    pub timeline_as_of: Option<Timestamp>,
    /// A status change that a delivery tells of.
    pub told: Option<Told>,
    /// When the provider did not show the incident to this key.
    pub hidden_at: Option<Timestamp>,
    /// Who takes part.
    pub participants: Option<Vec<Participant>>,
    /// Something happened that the timeline as stored does not tell.
    pub stirred: bool,
    /// What the timeline says besides updates. With it the stored timeline is replaced whole.
    pub chronicle: Option<timeline::Chronicle>,
}

impl Facts {
    /// What is known once `news` is added to what was known. None if there still is no snapshot: an update
    /// alone makes no record.
    pub fn merge(known: Option<Facts>, news: &News) -> Option<Facts> {
        let mut facts = match (known, &news.snapshot) {
            (Some(facts), _) => facts,
            (None, Some(snapshot)) => Facts {
                snapshot: snapshot.clone(),
                updates: Vec::new(),
                updates_as_of: (!news.imported).then_some(INCOMPLETE),
                timeline_as_of: None,
                acknowledged_at: None,
                told: Vec::new(),
                hidden_at: None,
                set: Vec::new(),
                participants: Vec::new(),
                references: Vec::new(),
            },
            (None, None) => return None,
        };
        if let Some(snapshot) = &news.snapshot {
            let (new, old) = (snapshot.updated_at, facts.snapshot.updated_at);
            if new > old || (new == old && news.read_at.is_some()) {
                facts.snapshot = snapshot.clone();
            }
        }
        for update in news.updates.iter().filter(|u| !u.id.is_empty() && u.created_at.is_some()) {
            let place = |known: &Update| (known.created_at, &known.id).cmp(&(update.created_at, &update.id));
            if let Some(index) = facts.updates.iter().position(|known| known.id == update.id) {
                facts.updates.remove(index);
            }
            let index = facts.updates.binary_search_by(place).unwrap_or_else(|index| index);
            facts.updates.insert(index, Update { incident_id: String::new(), ..update.clone() });
        }
        facts.updates_as_of = facts.updates_as_of.max(news.updates_as_of);
        if facts.takes_timeline(news) {
            facts.timeline_as_of = news.timeline_as_of;
            if let Some(told) = &news.chronicle {
                facts.acknowledged_at = told.acknowledged_at;
                facts.set = told.set.clone();
                facts.references = told.references.clone();
            }
            if let Some(participants) = &news.participants {
                facts.participants.clone_from(participants);
            }
        }
        if news.stirred {
            facts.timeline_as_of = None;
        }
        if let Some(told) = &news.told
            && let Err(index) = facts.told.binary_search(told)
        {
            facts.told.insert(index, told.clone());
        }
        if let Some(as_of) = facts.updates_as_of {
            facts.told.retain(|told| told.at > as_of);
        }
        facts.hidden_at = facts.hidden_at.max(news.hidden_at).filter(|at| Some(*at) >= news.read_at);
        Some(facts)
    }

    /// Whether what the news tell of the timeline is no older than what is known of it.
    pub fn takes_timeline(&self, news: &News) -> bool {
        self.timeline_as_of <= news.timeline_as_of
    }

    /// Of a private incident that the settings do not ask for, keeps that it exists and in which state: enough to
    /// count it, and to know a late delivery from the time when it was public.
    pub fn withhold(&mut self) {
        let Incident { id, reference, mode, incident_status, created_at, updated_at, .. } =
            &*self.snapshot.incident;
        self.snapshot.incident = Rc::new(Incident {
            id: id.clone(),
            reference: reference.clone(),
            mode: mode.clone(),
            incident_status: incident_status.clone(),
            visibility: WITHHELD.into(),
            created_at: *created_at,
            updated_at: *updated_at,
            ..Incident::default()
        });
        self.updates.clear();
        self.told.clear();
        self.updates_as_of = Some(INCOMPLETE);
        self.timeline_as_of = None;
        self.acknowledged_at = None;
        self.set.clear();
        self.participants.clear();
        self.references.clear();
    }

    /// Whether there is more to ask the provider of it: its timeline, or, of one that may be hidden, whether it is.
    pub fn is_incomplete(&self) -> bool {
        let wanted =
            if self.hidden_at.is_none() { Some(self.snapshot.active_at) } else { Some(Timestamp::MIN) };
        !self.snapshot.is_withheld() && self.timeline_as_of < wanted
    }

    /// Reads facts back; none if they are not what [`Facts::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Facts> {
        let mut kept = Kept::default();
        stored::read(bytes, Slot::Object(&mut kept))?;
        let mut told = Vec::with_capacity(kept.told.len());
        for KeptTold { at, category } in kept.told {
            told.extend(at.map(|at| Told { at, category }));
        }
        Some(Facts {
            snapshot: Snapshot::new(kept.incident)?,
            updates: kept.updates,
            updates_as_of: kept.updates_as_of,
            timeline_as_of: kept.timeline_as_of,
            acknowledged_at: kept.acknowledged_at,
            told,
            hidden_at: kept.hidden_at,
            set: kept.set,
            participants: kept.participants,
            references: kept.references,
        })
    }

    /// How facts are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::write(self)
    }
}

impl Fields for Told {
    fn count(&self) -> usize {
        2
    }

    fn value(&self, index: usize) -> Value<'_> {
        match index {
            0 => Value::Integer(self.at),
            _ => self.category.value(),
        }
    }
}

/// In the order of [`Kept`].
impl Fields for Facts {
    fn count(&self) -> usize {
        10
    }

    fn value(&self, index: usize) -> Value<'_> {
        match index {
            0 => Value::Object(&*self.snapshot.incident),
            1 => self.updates.value(),
            2 => self.updates_as_of.value(),
            3 => self.timeline_as_of.value(),
            4 => self.told.value(),
            5 => self.hidden_at.value(),
            6 => self.acknowledged_at.value(),
            7 => self.set.value(),
            8 => self.participants.value(),
            _ => self.references.value(),
        }
    }
}

#[derive(Default)]
struct Kept {
    incident: Incident,
    updates: Vec<Update>,
    updates_as_of: Option<Timestamp>,
    timeline_as_of: Option<Timestamp>,
    told: Vec<KeptTold>,
    hidden_at: Option<Timestamp>,
    acknowledged_at: Option<Timestamp>,
    set: Vec<Set>,
    participants: Vec<Participant>,
    references: Vec<String>,
}

object!(Kept {
    "incident" => Object incident,
    "updates" => List updates,
    "updates_as_of" => Instant updates_as_of,
    "timeline_as_of" => Instant timeline_as_of,
    "told" => List told,
    "hidden_at" => Instant hidden_at,
    "acknowledged_at" => Instant acknowledged_at,
    "set" => List set,
    "participants" => List participants,
    "references" => List references,
});

#[derive(Default)]
struct KeptTold {
    at: Option<Timestamp>,
    category: String,
}

object!(KeptTold { "at" => Instant at, "category" => Text category });

impl Snapshot {
    /// Keeps what records need. None without an identifier, which nothing can replace.
    pub fn new(mut incident: Incident) -> Option<Snapshot> {
        if incident.id.is_empty() {
            return None;
        }
        incident.incident_role_assignments.retain(|a| a.assignee.is_some());
        incident.incident_role_assignments.iter_mut().filter_map(|a| a.assignee.as_mut()).for_each(tidy);
        let kept = |v: &FieldValue| v.value_catalog_entry.is_some() || v.value_option.is_some();
        incident.custom_field_entries.retain(|entry| entry.values.iter().any(kept));
        incident.incident_timestamp_values.retain(|t| t.value.value.is_some());
        let created_at = incident.created_at;
        let updated_at = incident.updated_at.or(created_at).or(incident.last_activity_at).unwrap_or_default();
        let active_at = incident.last_activity_at.map_or(updated_at, |at| at.max(updated_at));
        Some(Snapshot { incident: Rc::new(incident), created_at, updated_at, active_at })
    }

    /// Whether this is no more than [`Facts::withhold`] leaves.
    pub fn is_withheld(&self) -> bool {
        self.incident.visibility == WITHHELD
    }

    /// The provider's identifier.
    pub fn id(&self) -> &str {
        &self.incident.id
    }

    /// Whether everybody at the organisation may see it. A word that is not known yet is taken as private:
    /// showing too little can be mended.
    pub fn is_private(&self) -> bool {
        !matches!(self.incident.visibility.as_str(), "public" | "")
    }
}

/// E-mail addresses are compared without case.
pub fn tidy(user: &mut User) {
    user.email = user.email.take().map(|e| e.trim_ascii().to_ascii_lowercase());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidentio::payload::Status;

    fn snapshot(name: &str, updated_at: Timestamp) -> Snapshot {
        let incident = Incident {
            id: "a".into(),
            name: name.into(),
            created_at: Some(0),
            updated_at: Some(updated_at),
            ..Incident::default()
        };
        Snapshot::new(incident).unwrap()
    }

    fn update(id: &str, at: Timestamp, category: &str) -> Update {
        let new_incident_status = Status { name: String::new(), category: category.into() };
        Update { id: id.into(), created_at: Some(at), new_incident_status, ..Update::default() }
    }

    fn whole(name: &str, at: Timestamp) -> News {
        News { snapshot: Some(snapshot(name, at)), ..News::default() }
    }

    fn told(at: Timestamp, category: &str) -> Option<Told> {
        Some(Told { at, category: category.into() })
    }

    fn merged(news: &[News]) -> Facts {
        news.iter().fold(None, Facts::merge).unwrap()
    }

    #[test]
    fn any_order_and_any_repetition_of_news_gives_the_same_facts() {
        let of = |updates: &[Update]| News { updates: updates.to_vec(), ..whole("first", 1) };
        let news = [
            whole("first", 1),
            whole("second", 2),
            whole("third", 3),
            of(&[update("u1", 1, "live"), update("u2", 2, "learning")]),
            of(&[update("u3", 3, "closed"), update("u1", 1, "live")]),
            News { told: told(2, "learning"), ..whole("second", 2) },
        ];
        let expected = merged(&news);
        assert_eq!((expected.snapshot.incident.name.as_str(), expected.updates.len()), ("third", 3));
        for shift in 0..news.len() {
            let mut order: Vec<News> = news.to_vec();
            order.rotate_left(shift);
            order.extend_from_slice(&news[..shift]);
            assert_eq!(merged(&order), expected, "rotated by {shift}");
            order.reverse();
            assert_eq!(merged(&order), expected, "reversed after {shift}");
        }
    }

    #[test]
    fn an_update_without_its_incident_makes_no_record() {
        assert_eq!(
            Facts::merge(None, &News { updates: vec![update("u", 1, "live")], ..News::default() }),
            None
        );
    }

    #[test]
    fn a_fresh_answer_replaces_an_equal_version_and_a_delivery_does_not() {
        let fresh = News { read_at: Some(9), ..whole("new name", 5) };
        assert_eq!(merged(&[whole("old name", 5), whole("new name", 5)]).snapshot.incident.name, "old name");
        assert_eq!(merged(&[whole("old name", 5), fresh]).snapshot.incident.name, "new name");
    }

    #[test]
    fn what_was_told_is_forgotten_once_the_updates_cover_it() {
        let tells = News { told: told(5, "live"), ..whole("x", 5) };
        let read = |as_of| News { updates_as_of: Some(as_of), ..whole("x", 5) };
        assert_eq!(merged(&[tells.clone(), read(4)]).told.len(), 1);
        assert_eq!(merged(&[tells.clone(), read(5)]).told.len(), 0);
        assert_eq!(merged(&[read(5), tells]).told.len(), 0, "a late delivery tells nothing new");
    }

    #[test]
    fn only_a_later_answer_proves_that_a_hidden_incident_can_be_seen() {
        let hidden = News { hidden_at: Some(100), ..News::default() };
        let answer = |at| News { read_at: Some(at), ..whole("x", 6) };
        assert_eq!(merged(&[whole("x", 5), hidden.clone()]).hidden_at, Some(100));
        assert_eq!(merged(&[whole("x", 5), hidden.clone(), whole("x", 6)]).hidden_at, Some(100));
        assert_eq!(merged(&[whole("x", 5), hidden.clone(), answer(99)]).hidden_at, Some(100));
        assert_eq!(merged(&[whole("x", 5), hidden, answer(101)]).hidden_at, None);
    }

    #[test]
    fn of_a_withheld_incident_nothing_is_kept_and_a_later_version_shows_it_again() {
        let kept =
            News { updates: vec![update("u", 1, "live")], updates_as_of: Some(5), ..whole("secret", 5) };
        let mut facts = merged(std::slice::from_ref(&kept));
        facts.withhold();
        assert!(!alloc::format!("{facts:?}").contains("secret") && facts.updates.is_empty());
        assert!(facts.snapshot.is_private() && facts.snapshot.is_withheld() && !facts.is_incomplete());
        let shown = Facts::merge(Some(facts), &whole("shown", 7)).unwrap();
        assert_eq!((shown.snapshot.incident.name.as_str(), shown.updates_as_of), ("shown", Some(INCOMPLETE)));
        assert!(shown.is_incomplete());
    }

    #[test]
    fn facts_survive_being_stored() {
        let incident = r#"{"id":"a","reference":"INC-1","name":"n","permalink":"p","visibility":"private","mode":"test",
            "incident_status":{"name":"Fixing","category":"live"},"severity":{"id":"s","name":"Major","rank":1},
            "incident_role_assignments":[{"role":{"name":"Lead"},"assignee":{"id":"u","name":"R","email":"R@X.example"}},
              {"role":{"name":"Empty"}}],
            "custom_field_entries":[{"custom_field":{"id":"f","name":"Services"},"values":[
              {"value_catalog_entry":{"name":"api","external_id":"x","aliases":["y"]}},{"value_option":{"value":"o"}},
              {"value_text":"not kept"}]}],
            "incident_timestamp_values":[{"incident_timestamp":{"name":"Fixed at"},"value":{"value":"2026-01-01T00:00:00.5Z"}},
              {"incident_timestamp":{"name":"Closed at"}}],
            "created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}"#;
        let mut read = Incident::default();
        koalr_codec::json::read(incident.as_bytes(), Slot::Object(&mut read)).unwrap();
        let news = News {
            snapshot: Snapshot::new(read),
            updates: vec![update("u", 1, "live")],
            updates_as_of: Some(3),
            timeline_as_of: Some(4),
            told: told(9, "closed"),
            hidden_at: Some(7),
            ..News::default()
        };
        let facts = merged(&[news]);
        assert_eq!(facts.snapshot.incident.incident_role_assignments.len(), 1);
        assert_eq!(Facts::from_bytes(&facts.to_bytes()).unwrap(), facts);
    }
}
