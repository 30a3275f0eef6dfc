//! What the provider has said about one incident, kept beside its record.
//!
//! [`Facts::merge`] is where order stops mattering. Each piece of knowledge is the greatest that was heard, in an order
//! that no clock of ours decides:
//!
//! | what | greatest by |
//! |---|---|
//! | the incident | the provider's version and last activity, then the question's number, then its content |
//! | each update | the question's number, then its content |
//! | the timeline, the participants | the version that they were read at, then the question's number, then their content |
//! | whether it is hidden | the numbers of the questions that did and did not show it |
//! | all else | itself |
//!
//! Questions are numbered by [`sequence`](super::sequence). Holds what a record or a timeline is derived from and
//! nothing else: no summary, no message, no post-mortem.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::digest::Digest;
use super::timeline::Chronicle;
use crate::incidentio::payload::{FieldValue, Incident, LONGEST_ID, Participant, Update, User};
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
    /// The incident's version up to which `updates` is known to be complete.
    pub updates_as_of: Option<Timestamp>,
    /// The version with which an import listed it. The updates up to that version are those that the import then reads
    /// of the organisation as a whole.
    pub imported: Option<Timestamp>,
    /// The incident's version up to which the stored timeline is known to be complete.
    pub timeline_as_of: Option<Timestamp>,
    /// Which reading gave `acknowledged_at`, `set`, `references` and the stored timeline.
    pub chronicle: Reading,
    /// When somebody first acknowledged, by the activity log.
    pub acknowledged_at: Option<Timestamp>,
    /// Status changes told by deliveries and not yet covered by `updates`, oldest first.
    pub told: Vec<Told>,
    /// The last question whose answer showed the incident.
    pub seen: Option<i64>,
    /// Questions that the provider answered as if there were no such incident.
    pub hidden: Misses,
    /// Daily looks at what is open that did not find it.
    pub missed: Misses,
    /// When something last happened that the incident's version need not tell.
    pub stirred_at: Option<Timestamp>,
    /// When points in the incident's life were last set, by the activity log.
    pub set: Vec<Set>,
    /// Which reading gave `participants`.
    pub people: Reading,
    /// Who took part, as read with the timeline.
    pub participants: Vec<Participant>,
    /// What else it is known by, as read with the timeline.
    pub references: Vec<String>,
}

/// What [`Facts::withhold`] leaves for a visibility.
const WITHHELD: &str = "withheld";

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
    /// The question that it answers; none if it came with a delivery.
    pub asked: Option<i64>,
}

/// The last two questions, or looks, that the provider answered as if there were no such incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misses {
    last: Option<i64>,
    before: Option<i64>,
}

impl Misses {
    fn add(&mut self, asked: i64) {
        if Some(asked) > self.last {
            *self = Misses { last: Some(asked), before: self.last };
        } else if Some(asked) < self.last {
            self.before = self.before.max(Some(asked));
        }
    }

    /// Whether there was one since it was last seen. Of two questions that were asked at once nobody knows which answer
    /// is the later one: that it is missing weighs more, because it is then asked for again.
    fn is_missed(self, seen: Option<i64>) -> bool {
        self.last.is_some() && self.last >= seen
    }

    /// Whether there were two.
    fn is_missed_twice(self, seen: Option<i64>) -> bool {
        self.before.is_some() && self.before >= seen
    }
}

object!(Misses { "last" => Integer last, "before" => Integer before });

/// When, in the provider's and in our own order, something was read, and what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The incident's version that was known.
    as_of: Option<Timestamp>,
    asked: Option<i64>,
    digest: Option<i64>,
}

object!(Reading { "as_of" => Instant as_of, "asked" => Integer asked, "digest" => Integer digest });

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
    /// The number of the question that all of this answers; none if it came with a delivery. Names can change without a
    /// new version, so a later answer replaces an equal version; a delivery, which may be late, does not.
    pub asked: Option<i64>,
    /// The incident itself.
    pub snapshot: Option<Snapshot>,
    /// Whether the organisation's updates will be read as a whole after this, so that those of `snapshot` are among them.
    pub imported: bool,
    /// Updates of this incident; those without id or time are left out.
    pub updates: Vec<Update>,
    /// With the above: the version up to which they are all there is.
    pub updates_as_of: Option<Timestamp>,
    /// The version up to which the timeline written with this news is complete.
    pub timeline_as_of: Option<Timestamp>,
    /// A status change that a delivery tells of.
    pub told: Option<Told>,
    /// Whether the provider answered as if there were no such incident.
    pub hidden: bool,
    /// The number of a daily look at what is open that did not find it.
    pub missed: Option<i64>,
    /// Who takes part.
    pub participants: Option<Vec<Participant>>,
    /// When something happened that the incident's version need not tell.
    pub stirred_at: Option<Timestamp>,
    /// What the timeline says besides updates. With it the stored timeline is replaced whole.
    pub chronicle: Option<Chronicle>,
}

impl Facts {
    /// What is known once `news` is added to what was known. None if there still is no snapshot: an update
    /// alone makes no record.
    pub fn merge(known: Option<Facts>, news: &News) -> Option<Facts> {
        let mut facts = match (known, &news.snapshot) {
            (Some(facts), _) => facts,
            (None, Some(snapshot)) => Facts::of(snapshot.clone()),
            (None, None) => return None,
        };
        if let Some(snapshot) = &news.snapshot {
            let snapshot = Snapshot { asked: news.asked, ..snapshot.clone() };
            if news.imported {
                facts.imported = facts.imported.max(Some(snapshot.updated_at));
            }
            facts.seen = facts.seen.max(news.asked);
            if snapshot.order(&facts.snapshot).is_gt() {
                facts.snapshot = snapshot;
            }
        }
        for update in news.updates.iter().filter(|u| !u.id.is_empty() && u.created_at.is_some()) {
            facts.add_update(Update { incident_id: String::new(), asked: news.asked, ..update.clone() });
        }
        facts.updates_as_of = facts.updates_as_of.max(news.updates_as_of);
        facts.timeline_as_of = facts.timeline_as_of.max(news.timeline_as_of);
        if let Some(told) = facts.takes(news) {
            facts.chronicle = news.reading(told.digest());
            facts.acknowledged_at = told.acknowledged_at;
            facts.set.clone_from(&told.set);
            facts.references.clone_from(&told.references);
        }
        if let Some(participants) = &news.participants {
            let reading = news.reading(Digest::of(&stored::write(&List(participants))));
            if reading > facts.people {
                facts.people = reading;
                facts.participants.clone_from(participants);
            }
        }
        facts.stirred_at = facts.stirred_at.max(news.stirred_at);
        if let Some(told) = &news.told
            && let Err(index) = facts.told.binary_search(told)
        {
            facts.told.insert(index, told.clone());
        }
        if let Some(as_of) = facts.updates_as_of {
            facts.told.retain(|told| told.at > as_of);
        }
        if let (true, Some(asked)) = (news.hidden, news.asked) {
            facts.hidden.add(asked);
        }
        if let Some(look) = news.missed {
            facts.missed.add(look);
        }
        Some(facts)
    }

    fn of(snapshot: Snapshot) -> Facts {
        Facts {
            snapshot,
            updates: Vec::new(),
            updates_as_of: None,
            imported: None,
            timeline_as_of: None,
            chronicle: Reading::default(),
            acknowledged_at: None,
            told: Vec::new(),
            seen: None,
            hidden: Misses::default(),
            missed: Misses::default(),
            stirred_at: None,
            set: Vec::new(),
            people: Reading::default(),
            participants: Vec::new(),
            references: Vec::new(),
        }
    }

    /// An update can be edited, and has no version.
    fn add_update(&mut self, update: Update) {
        let place = |known: &Update| (known.created_at, &known.id).cmp(&(update.created_at, &update.id));
        if let Some(index) = self.updates.iter().position(|known| known.id == update.id) {
            let known = self.updates.get(index);
            if known.is_some_and(|known| order(known, known.asked, &update, update.asked).is_ge()) {
                return;
            }
            self.updates.remove(index);
        }
        let index = self.updates.binary_search_by(place).unwrap_or_else(|index| index);
        self.updates.insert(index, update);
    }

    /// What the news tell of the timeline, if that is no older than what is known of it.
    pub fn takes<'a>(&self, news: &'a News) -> Option<&'a Chronicle> {
        news.chronicle.as_ref().filter(|told| news.reading(told.digest()) >= self.chronicle)
    }

    /// Of a private incident that the settings do not ask for, keeps that it exists and in which state: enough to
    /// count it, and to know a late delivery from the time when it was public.
    pub fn withhold(&mut self) {
        let Incident {
            id, reference, mode, incident_status, created_at, updated_at, last_activity_at, ..
        } = &*self.snapshot.incident;
        self.snapshot.incident = Rc::new(Incident {
            id: id.clone(),
            reference: reference.clone(),
            mode: mode.clone(),
            incident_status: incident_status.clone(),
            visibility: WITHHELD.into(),
            created_at: *created_at,
            updated_at: *updated_at,
            last_activity_at: *last_activity_at,
            ..Incident::default()
        });
        let Facts { seen, hidden, missed, .. } = *self;
        *self = Facts { seen, hidden, missed, ..Facts::of(self.snapshot.clone()) };
    }

    /// Whether the provider answered, when it was last asked, as if there were no such incident.
    pub fn is_hidden(&self) -> bool {
        self.hidden.is_missed(self.seen)
    }

    /// Whether two daily looks in succession did not find it.
    pub fn is_lost(&self) -> bool {
        self.missed.is_missed_twice(self.seen)
    }

    /// Whether it is lost with this look, and was not before.
    pub fn loses(&self, look: i64) -> bool {
        let mut missed = self.missed;
        missed.add(look);
        missed.is_missed_twice(self.seen) && !self.is_lost()
    }

    /// The version that a timeline is read at now.
    pub fn active_at(&self) -> Timestamp {
        self.stirred_at.map_or(self.snapshot.active_at, |at| at.max(self.snapshot.active_at))
    }

    /// Whether there is more to ask the provider of it: its timeline, or, of one that may be hidden, whether it is.
    pub fn is_incomplete(&self) -> bool {
        let is_incomplete = if self.is_hidden() {
            !self.hidden.is_missed_twice(self.seen)
        } else {
            self.timeline_as_of < Some(self.active_at())
        };
        !self.snapshot.is_withheld() && is_incomplete
    }

    /// The last question that any of this answers.
    pub fn last_asked(&self) -> Option<i64> {
        let own = [
            self.snapshot.asked,
            self.seen,
            self.hidden.last,
            self.missed.last,
            self.chronicle.asked,
            self.people.asked,
        ];
        own.into_iter().chain(self.updates.iter().map(|update| update.asked)).max().flatten()
    }

    /// Whether these facts say anything else than those; to have been told the same once more is nothing else. That is
    /// not worth a write: an earlier answer that comes after it is set right by the next one, for which a poll asks.
    pub fn differ(&self, known: &Facts) -> bool {
        let unnumbered = |facts: &Facts, misses: Misses| {
            (misses.is_missed(facts.seen), misses.is_missed_twice(facts.seen))
        };
        let whole = |snapshot: &Snapshot| (snapshot.created_at, snapshot.updated_at, snapshot.active_at);
        let of = |reading: &Reading| (reading.as_of, reading.digest);
        let same_updates = self.updates.len() == known.updates.len()
            && self.updates.iter().zip(&known.updates).all(|(one, other)| one.is_same(other));
        !(same_updates
            && self.snapshot.incident == known.snapshot.incident
            && whole(&self.snapshot) == whole(&known.snapshot)
            && unnumbered(self, self.hidden) == unnumbered(known, known.hidden)
            && unnumbered(self, self.missed) == unnumbered(known, known.missed)
            && (self.updates_as_of, self.imported) == (known.updates_as_of, known.imported)
            && (self.timeline_as_of, self.stirred_at) == (known.timeline_as_of, known.stirred_at)
            && of(&self.chronicle) == of(&known.chronicle)
            && of(&self.people) == of(&known.people)
            && self.told == known.told)
    }

    /// Reads facts back; none if they are not what [`Facts::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Facts> {
        let mut kept = Kept::default();
        stored::read(bytes, Slot::Object(&mut kept))?;
        let mut told = Vec::with_capacity(kept.told.len());
        for KeptTold { at, category } in kept.told {
            told.extend(at.map(|at| Told { at, category }));
        }
        let mut hidden = kept.hidden;
        // Noted by an earlier version, by the clock.
        if kept.hidden_at.is_some() {
            hidden.add(0);
        }
        Some(Facts {
            snapshot: Snapshot { asked: kept.asked, ..Snapshot::new(kept.incident)? },
            updates: kept.updates,
            updates_as_of: kept.updates_as_of,
            imported: kept.imported,
            timeline_as_of: kept.timeline_as_of,
            chronicle: kept.chronicle,
            acknowledged_at: kept.acknowledged_at,
            told,
            seen: kept.seen,
            hidden,
            missed: kept.missed,
            stirred_at: kept.stirred_at,
            set: kept.set,
            people: kept.people,
            participants: kept.participants,
            references: kept.references,
        })
    }

    /// How facts are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::write(self)
    }
}

impl News {
    fn reading(&self, digest: i64) -> Reading {
        Reading { as_of: self.timeline_as_of, asked: self.asked, digest: Some(digest) }
    }
}

/// By the question, then by content: which of two is kept matters less than that it is always the same.
fn order(one: &dyn Fields, asked: Option<i64>, other: &dyn Fields, other_asked: Option<i64>) -> Ordering {
    asked.cmp(&other_asked).then_with(|| stored::write(one).cmp(&stored::write(other)))
}

/// A list as a document.
struct List<'a, T>(&'a Vec<T>);

impl<T: Fields> Fields for List<'_, T> {
    fn count(&self) -> usize {
        1
    }

    fn value(&self, _: usize) -> Value<'_> {
        Value::List(self.0)
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
        18
    }

    fn value(&self, index: usize) -> Value<'_> {
        match index {
            0 => Value::Object(&*self.snapshot.incident),
            1 => self.updates.value(),
            2 => self.updates_as_of.value(),
            3 => self.timeline_as_of.value(),
            4 => self.told.value(),
            5 => Value::Absent,
            6 => self.acknowledged_at.value(),
            7 => self.set.value(),
            8 => self.participants.value(),
            9 => self.references.value(),
            10 => self.snapshot.asked.value(),
            11 => self.seen.value(),
            12 => self.imported.value(),
            13 => self.stirred_at.value(),
            14 => Value::Object(&self.chronicle),
            15 => Value::Object(&self.people),
            16 => Value::Object(&self.hidden),
            _ => Value::Object(&self.missed),
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
    asked: Option<i64>,
    seen: Option<i64>,
    imported: Option<Timestamp>,
    stirred_at: Option<Timestamp>,
    chronicle: Reading,
    people: Reading,
    hidden: Misses,
    missed: Misses,
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
    "asked" => Integer asked,
    "seen" => Integer seen,
    "imported" => Instant imported,
    "stirred_at" => Instant stirred_at,
    "chronicle" => Object chronicle,
    "people" => Object people,
    "hidden" => Object hidden,
    "missed" => Object missed,
});

#[derive(Default)]
struct KeptTold {
    at: Option<Timestamp>,
    category: String,
}

object!(KeptTold { "at" => Instant at, "category" => Text category });

/// Why [`Snapshot::new`] answers none.
pub(super) fn no_identifier() -> String {
    format!("its identifier is missing or longer than {LONGEST_ID} bytes")
}

impl Snapshot {
    /// Keeps what records need. None without an identifier of a usual length, which nothing can replace.
    pub fn new(mut incident: Incident) -> Option<Snapshot> {
        if incident.id.is_empty() || incident.id.len() > LONGEST_ID {
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
        Some(Snapshot { incident: Rc::new(incident), created_at, updated_at, active_at, asked: None })
    }

    fn order(&self, other: &Snapshot) -> Ordering {
        let version = (self.updated_at, self.active_at).cmp(&(other.updated_at, other.active_at));
        version.then_with(|| order(&*self.incident, self.asked, &*other.incident, other.asked))
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
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

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

    /// One of two or three values of each part, so that the same, another, an earlier and a later one come about.
    fn any_news() -> impl Strategy<Value = News> {
        let asked = prop_oneof![Just(None), (1..4_i64).prop_map(Some)];
        let incident = option::of((0..3_usize, 1..3_i64, 0..3_i64, any::<bool>()));
        let updates = vec((0..2_usize, 1..3_i64, 0..2_usize), 0..3);
        let read = option::of(1..4_i64);
        let timeline = option::of((1..4_i64, option::of(0..2_usize), option::of(0..2_usize)));
        let told = option::of((1..4_i64, 0..2_usize));
        let other = (any::<bool>(), option::of(1..4_i64));
        (asked, incident, updates, read, timeline, told, other).prop_map(
            |(asked, incident, updates, read, timeline, told, (hidden, stirred_at))| {
                let snapshot = incident.map(|(name, version, activity, _)| {
                    let mut incident = (*snapshot(["a", "b", "c"][name], version).incident).clone();
                    incident.last_activity_at = Some(version + activity);
                    Snapshot::new(incident).unwrap()
                });
                let chronicle = |n: usize| Chronicle {
                    events: Vec::new(),
                    acknowledged_at: Some(0),
                    set: Vec::new(),
                    references: vec![["x", "y"][n].into()],
                };
                let person = |n: usize| Participant {
                    participant_type: ["helper", "observer"][n].into(),
                    ..Participant::default()
                };
                let updates = updates.into_iter();
                News {
                    id: "a".into(),
                    asked,
                    imported: incident.is_some_and(|(.., imported)| imported && asked.is_some()),
                    snapshot,
                    updates: updates
                        .map(|(id, at, category)| update(["u", "v"][id], at, ["live", "closed"][category]))
                        .collect(),
                    updates_as_of: read,
                    timeline_as_of: timeline.map(|(as_of, ..)| as_of),
                    chronicle: timeline.and_then(|(_, told, _)| told).map(chronicle),
                    participants: timeline.and_then(|(.., people)| people).map(|n| vec![person(n)]),
                    told: told
                        .map(|(at, category)| Told { at, category: ["live", "closed"][category].into() }),
                    // Only an answer can lack an incident, and it then says nothing of it.
                    hidden: hidden && asked.is_some() && incident.is_none(),
                    missed: asked.filter(|_| hidden && incident.is_none()),
                    stirred_at,
                }
            },
        )
    }

    fn known(news: &[&News]) -> Facts {
        let first = Facts::merge(None, &whole("first", 0));
        news.iter().fold(first, |known, news| Facts::merge(known, news)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn any_order_and_any_repetition_of_news_gives_the_same_facts(
            a in any_news(), b in any_news(), c in any_news()
        ) {
            let expected = known(&[&a, &b, &c]);
            for order in [[&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]] {
                prop_assert_eq!(&known(&order), &expected);
            }
            prop_assert_eq!(known(&[&a, &b, &c, &b]), known(&[&a, &b, &c]));
            prop_assert_eq!(known(&[&a, &a]), known(&[&a]));
            prop_assert_eq!(Facts::from_bytes(&expected.to_bytes()), Some(expected));
        }
    }

    #[test]
    fn hidden_and_answered_say_the_same_in_either_order() {
        let hidden = |asked| News { hidden: true, asked: Some(asked), ..News::default() };
        let answer = |asked| News { asked: Some(asked), ..whole("x", 5) };
        for (missed, shown, is_hidden) in [(1, 2, false), (2, 1, true), (2, 2, true)] {
            let (missed, shown) = (hidden(missed), answer(shown));
            assert_eq!(known(&[&missed, &shown]).is_hidden(), is_hidden);
            assert_eq!(known(&[&shown, &missed]), known(&[&missed, &shown]));
        }
    }

    #[test]
    fn what_two_looks_did_not_find_is_lost_until_it_is_seen_again() {
        let missed = |look| News { missed: Some(look), ..News::default() };
        let answer = |asked| News { asked: Some(asked), ..whole("x", 5) };
        assert!(!known(&[&missed(1)]).is_lost());
        assert!(!known(&[&missed(1), &missed(1)]).is_lost(), "the same look");
        assert!(known(&[&missed(1), &missed(3)]).is_lost());
        assert!(!known(&[&missed(1), &answer(2), &missed(3)]).is_lost());
        assert!(!known(&[&missed(1), &missed(3), &answer(4)]).is_lost());
        assert!(!known(&[&missed(3)]).is_hidden(), "which is no reason to think that it is private");
    }

    #[test]
    fn of_an_edited_update_the_later_answer_counts_whenever_it_comes() {
        let answer = |asked, category: &str| News {
            asked: Some(asked),
            updates: vec![update("u", 1, category)],
            ..News::default()
        };
        let (before, after) = (answer(1, "live"), answer(2, "closed"));
        for order in [[&before, &after], [&after, &before]] {
            assert_eq!(known(&order).updates[0].new_incident_status.category, "closed");
        }
    }

    #[test]
    fn what_was_stirred_is_read_again_until_the_timeline_is_as_late() {
        let stirred = News { stirred_at: Some(9), ..News::default() };
        let read = |as_of| News { timeline_as_of: Some(as_of), asked: Some(1), ..News::default() };
        for (as_of, is_incomplete) in [(8, true), (9, false)] {
            let read = read(as_of);
            assert_eq!(known(&[&stirred, &read]).is_incomplete(), is_incomplete);
            assert_eq!(known(&[&read, &stirred]), known(&[&stirred, &read]));
        }
    }

    #[test]
    fn to_have_been_told_the_same_again_is_nothing_new() {
        let answer =
            |asked| News { asked: Some(asked), updates: vec![update("u", 1, "live")], ..whole("x", 5) };
        let (first, again, other) = (answer(1), answer(2), News { asked: Some(2), ..whole("y", 5) });
        assert!(!known(&[&first, &again]).differ(&known(&[&first])));
        assert!(known(&[&first, &other]).differ(&known(&[&first])));
    }

    #[test]
    fn an_update_without_its_incident_makes_no_record() {
        assert_eq!(
            Facts::merge(None, &News { updates: vec![update("u", 1, "live")], ..News::default() }),
            None
        );
    }

    #[test]
    fn a_later_answer_replaces_an_equal_version_and_a_delivery_does_not() {
        let answer = |name: &str, asked| News { asked: Some(asked), ..whole(name, 5) };
        let named = |news: &[News]| merged(news).snapshot.incident.name.clone();
        assert_eq!(named(&[answer("old name", 1), answer("a new name", 2)]), "a new name");
        assert_eq!(named(&[answer("a new name", 2), answer("old name", 1)]), "a new name");
        assert_eq!(named(&[answer("a new name", 2), whole("old name", 5)]), "a new name");
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
        let hidden = |asked| News { hidden: true, asked: Some(asked), ..News::default() };
        let answer = |asked| News { asked: Some(asked), ..whole("x", 6) };
        let after = |news: &News| known(&[&hidden(100), news]).is_hidden();
        assert!(after(&News::default()) && after(&whole("x", 6)) && after(&answer(99)));
        assert!(!after(&answer(101)));
        // It is asked for once more, whether it is.
        assert!(known(&[&hidden(100)]).is_incomplete());
        assert!(!known(&[&hidden(100), &hidden(101)]).is_incomplete());
    }

    #[test]
    fn what_an_earlier_version_stored_is_read_place_for_place() {
        let stored = include_bytes!("../../../tests/fixtures/notes/facts-aa5d6d7.bin");
        let facts = Facts::from_bytes(stored).unwrap();
        let seen = &facts.snapshot.incident;
        assert_eq!((seen.reference.as_str(), seen.visibility.as_str()), ("INC-1", "private"));
        assert_eq!(seen.incident_status.category, "live");
        let point = &seen.incident_timestamp_values[0];
        assert_eq!(
            (point.incident_timestamp.name.as_str(), point.incident_timestamp.id.as_str()),
            ("Fixed at", "")
        );
        assert_eq!(point.value.value, Some(1_767_225_600_500_000));
        let update = &facts.updates[0];
        assert_eq!((update.id.as_str(), update.new_incident_status.category.as_str()), ("u", "live"));
        assert_eq!(facts.told, [Told { at: 9, category: "closed".into() }]);
        assert_eq!(facts.timeline_as_of, Some(4));
        assert!(facts.is_hidden());
    }

    #[test]
    fn what_an_earlier_version_noted_as_hidden_stays_hidden() {
        let incident = (*snapshot("x", 5).incident).clone();
        assert!(Facts::from_bytes(&stored::write(&Old(incident))).unwrap().is_hidden());
    }

    struct Old(Incident);

    impl Fields for Old {
        fn count(&self) -> usize {
            6
        }

        fn value(&self, index: usize) -> Value<'_> {
            match index {
                0 => Value::Object(&self.0),
                5 => Value::Integer(7),
                _ => Value::Absent,
            }
        }
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
        assert_eq!((shown.snapshot.incident.name.as_str(), shown.updates_as_of), ("shown", None));
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
            asked: Some(5),
            imported: true,
            stirred_at: Some(8),
            participants: Some(vec![Participant::default()]),
            chronicle: Some(Chronicle {
                events: Vec::new(),
                acknowledged_at: Some(6),
                set: vec![Set { name: "Fixed at".into(), at: Some(6) }],
                references: vec!["r".into()],
            }),
            ..News::default()
        };
        let hidden = |asked| News { hidden: true, asked: Some(asked), ..News::default() };
        let missed = |look| News { missed: Some(look), ..News::default() };
        let facts = merged(&[news, hidden(7), hidden(9), missed(7), missed(9)]);
        assert_eq!(facts.snapshot.incident.incident_role_assignments.len(), 1);
        assert_eq!(Facts::from_bytes(&facts.to_bytes()).unwrap(), facts);
    }
}
