//! Invents an account: the same seed, size and instant always give the same bytes.
//!
//! The first incidents follow [`ALWAYS`], so that even a small account has every phase, mode and oddity; the
//! rest is drawn by weight. Histories are planned as offsets first and dated afterwards, which keeps every
//! step of a finished incident before the account's present.

use std::sync::Arc;

use axum::body::Bytes;
use chrono::{DateTime, Duration, Utc};

use crate::{
    account::Account,
    model::{Actor, Incident, Mode, Stamps, TimelineItem},
    settings::{Settings, Severity, token, ulid},
    stages::{Stage, Stamp},
    words,
};

/// How an incident went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Triage,
    Live,
    Paused,
    Learning,
    Closed,
    Declined,
    Canceled,
    Merged,
    /// Resolved too early, and then for good; its first resolution time stays in the timestamp.
    ReopenedClosed,
    /// Resolved too early and live again.
    ReopenedLive,
}

/// What even the smallest account should have, in order of importance.
const ALWAYS: &[(Story, Mode, bool, bool)] = &[
    // story, mode, private, older than the window
    (Story::Closed, Mode::Standard, false, false),
    (Story::Live, Mode::Standard, false, false),
    (Story::Learning, Mode::Standard, false, false),
    (Story::Triage, Mode::Standard, false, false),
    (Story::Merged, Mode::Standard, false, false),
    (Story::Declined, Mode::Standard, false, false),
    (Story::Canceled, Mode::Standard, false, false),
    (Story::Paused, Mode::Standard, false, false),
    (Story::ReopenedClosed, Mode::Standard, false, false),
    (Story::ReopenedLive, Mode::Standard, false, false),
    (Story::Closed, Mode::Retrospective, false, false),
    (Story::Closed, Mode::Test, false, false),
    (Story::Closed, Mode::Tutorial, false, false),
    (Story::Closed, Mode::Standard, true, false),
    (Story::Closed, Mode::Standard, false, true),
    (Story::Live, Mode::Standard, true, false),
    (Story::Closed, Mode::Standard, false, true),
];

/// Invents `incidents` incidents that end no later than `now`, most of them within `days`, each with exactly so many
/// `updates` or with as many as its story has.
pub(crate) fn account(
    incidents: usize,
    seed: u64,
    now: DateTime<Utc>,
    days: u32,
    updates: Option<usize>,
) -> Account {
    let mut rng = fastrand::Rng::with_seed(seed);
    let now = DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
    let settings = Settings::generate(&mut rng, now);
    let mut plans: Vec<Plan> = (0..incidents).map(|n| Plan::draw(n, &mut rng, now, days, updates)).collect();
    plans.sort_by_key(|plan| plan.created_at);
    let mut account = Account::empty(settings, rng);
    let mut number = 0;
    for plan in &plans {
        number += 1;
        play(&mut account, plan, number, now);
    }
    point_merged_at_a_survivor(&mut account);
    account.sort();
    for position in 0..account.incidents.len() {
        account.render(position);
    }
    account
}

struct Plan {
    mode: Mode,
    private: bool,
    severity: usize,
    created_at: DateTime<Utc>,
    /// When after its creation it entered which status.
    steps: Vec<(Duration, Stage)>,
}

impl Plan {
    fn draw(
        n: usize,
        rng: &mut fastrand::Rng,
        now: DateTime<Utc>,
        days: u32,
        updates: Option<usize>,
    ) -> Self {
        let (story, mode, private, old) = ALWAYS
            .get(n)
            .copied()
            .unwrap_or_else(|| (draw_story(rng), draw_mode(rng), rng.u32(..100) < 6, rng.u32(..100) < 3));
        // Mild ones are common, the worst are rare.
        let severity = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4].get(rng.usize(..13)).copied().unwrap_or(0);
        let mut steps = if mode == Mode::Retrospective {
            vec![(Duration::zero(), Stage::Closed)]
        } else {
            draw_steps(story, severity, rng)
        };
        if let Some(updates) = updates {
            fit(&mut steps, updates);
        }
        let length = steps.last().map_or(0, |(offset, _)| offset.num_seconds());
        let day = 86_400;
        let since_last = match story {
            Story::Triage => rng.i64(300..5_400),
            Story::Live | Story::ReopenedLive => rng.i64(120..8 * 3_600),
            Story::Learning => rng.i64(3_600..4 * day),
            Story::Paused => rng.i64(3_600..6 * day),
            _ if old => i64::from(days) * day + rng.i64(0..200 * day),
            _ => rng.i64(0..(i64::from(days) * day - length - day).max(1)) + 900,
        };
        let age = Duration::seconds(length + since_last) + Duration::milliseconds(rng.i64(0..1_000));
        Self { mode, private, severity, created_at: now - age, steps }
    }
}

/// Leaves out what is between the beginning and the end, or has more said at the beginning.
fn fit(steps: &mut Vec<(Duration, Stage)>, updates: usize) {
    while steps.len() > updates.max(1) {
        steps.remove(1.min(steps.len() - 1));
    }
    if let Some(first) = steps.first().copied() {
        for second in steps.len()..updates {
            let later = Duration::seconds(i64::try_from(second).unwrap_or(0));
            steps.insert(1, (first.0 + later, first.1));
        }
    }
    steps.sort_by_key(|(offset, _)| *offset);
}

fn draw_story(rng: &mut fastrand::Rng) -> Story {
    match rng.u32(..1_000) {
        0..760 => Story::Closed,
        760..830 => Story::Learning,
        830..860 => Story::Merged,
        860..910 => Story::Declined,
        910..935 => Story::Canceled,
        935..965 => Story::ReopenedClosed,
        965..975 => Story::Paused,
        975..978 => Story::ReopenedLive,
        978..985 => Story::Triage,
        _ => Story::Live,
    }
}

fn draw_mode(rng: &mut fastrand::Rng) -> Mode {
    match rng.u32(..100) {
        0..90 => Mode::Standard,
        90..95 => Mode::Retrospective,
        95..99 => Mode::Test,
        _ => Mode::Tutorial,
    }
}

fn draw_steps(story: Story, severity: usize, rng: &mut fastrand::Rng) -> Vec<(Duration, Stage)> {
    let mut walk = Walk { steps: Vec::new(), at: Duration::zero() };
    let through_triage = rng.u32(..4) == 0;
    let open = |walk: &mut Walk, rng: &mut fastrand::Rng| {
        if through_triage {
            walk.after(0, Stage::Triage);
            walk.after(rng.i64(60..900), Stage::Investigating);
        } else {
            walk.after(0, Stage::Investigating);
        }
    };
    match story {
        Story::Triage => walk.after(0, Stage::Triage),
        Story::Declined => {
            walk.after(0, Stage::Triage);
            walk.after(rng.i64(120..3_600), Stage::Declined);
        }
        Story::Canceled | Story::Merged => {
            open(&mut walk, rng);
            let end = if story == Story::Merged { Stage::Merged } else { Stage::Canceled };
            walk.after(rng.i64(120..2_400), end);
        }
        Story::Live => {
            open(&mut walk, rng);
            if rng.u32(..3) > 0 {
                walk.after(rng.i64(300..2_400), Stage::Fixing);
            }
        }
        Story::Paused => {
            open(&mut walk, rng);
            walk.after(rng.i64(600..7_200), Stage::Paused);
        }
        Story::Learning | Story::Closed | Story::ReopenedClosed | Story::ReopenedLive => {
            open(&mut walk, rng);
            walk.repair(severity, rng);
            if matches!(story, Story::ReopenedClosed | Story::ReopenedLive) {
                walk.after(rng.i64(1_200..40_000), Stage::Investigating);
                if story == Story::ReopenedLive {
                    return walk.steps;
                }
                walk.repair(severity, rng);
            }
            if story != Story::Learning || rng.bool() {
                walk.after(rng.i64(3_600..40_000), Stage::Reviewing);
            }
            if story != Story::Learning {
                walk.after(rng.i64(20_000..300_000), Stage::Closed);
            }
        }
    }
    walk.steps
}

struct Walk {
    steps: Vec<(Duration, Stage)>,
    at: Duration,
}

impl Walk {
    fn after(&mut self, seconds: i64, stage: Stage) {
        self.at += Duration::seconds(seconds);
        self.steps.push((self.at, stage));
    }

    /// From the discovery of the cause to the end of the impact. The worse it is, the more people help, so
    /// typical times shrink with severity; the tail is long everywhere.
    fn repair(&mut self, severity: usize, rng: &mut fastrand::Rng) {
        let minutes = [240.0, 120.0, 75.0, 55.0, 45.0].get(severity).copied().unwrap_or(60.0);
        let spread: f64 = (0..4).map(|_| rng.f64()).sum::<f64>() - 2.0;
        #[allow(clippy::cast_possible_truncation, reason = "a repair time in seconds, far below the limit")]
        let seconds = (minutes * 60.0 * (spread * 1.3).exp()) as i64;
        self.after(rng.i64(180..1_800), Stage::Fixing);
        if rng.u32(..5) > 0 {
            self.after(seconds, Stage::Monitoring);
            self.after(rng.i64(600..2_400), Stage::Documenting);
        } else {
            self.after(seconds, Stage::Documenting);
        }
    }
}

/// Replays one plan into the account.
fn play(account: &mut Account, plan: &Plan, number: u64, now: DateTime<Utc>) {
    let created_at = plan.created_at;
    let rng = account.rng();
    let (id, slack, has_slack) = (ulid(rng, created_at), token(rng, 9), rng.u32(..20) > 0);
    let (who, second, third) = (rng.usize(..), rng.usize(..), rng.usize(..));
    let n_services = [0, 1, 1, 1, 1, 2, 2, 3].get(rng.usize(..8)).copied().unwrap_or(1);
    let first_service = rng.usize(..);
    let (symptom, cause) = (rng.usize(..), rng.usize(..));
    let (has_summary, has_impact_start, has_impact) = (rng.u32(..10) < 7, rng.u32(..100) < 75, rng.bool());
    let (impact, customers, opened_by) = (rng.usize(..5), rng.u32(1..5_000), rng.u32(..10));
    let lag = Duration::seconds(rng.i64(60..2_400));
    let oddity = rng.u32(..1_000);

    let settings = &account.settings;
    let user = |n: usize| pick(&settings.users, n).cloned();
    let services: Vec<_> = (0..n_services)
        .filter_map(|n| pick(&settings.services, first_service.wrapping_add(n * 5)).cloned())
        .collect();
    let subject = services.first().map_or("the office network", |service| &service.name).to_owned();
    let name = format!("{subject} {}", pick(words::SYMPTOMS, symptom).unwrap_or(&"is down"));
    let severity: Option<Arc<Severity>> = settings.severities.get(plan.severity).cloned();
    let (lead, reporter) = (user(who), user(second));
    let creator = match opened_by {
        0..3 => Actor::ApiKey,
        3 => Actor::Workflow,
        _ => reporter.clone().map_or(Actor::ApiKey, Actor::User),
    };
    let first_stage = plan.steps.first().map_or(Stage::Triage, |(_, stage)| *stage);
    let kind = if plan.private { &settings.security_type } else { &settings.default_type };
    let incident = Incident {
        id,
        number,
        name,
        summary: has_summary.then(|| pick(words::CAUSES, cause).map_or("", |text| text).to_owned()),
        private: plan.private,
        mode: plan.mode,
        stage: first_stage,
        severity: if first_stage == Stage::Triage { None } else { severity.clone() },
        kind: Arc::clone(kind),
        creator: creator.clone(),
        lead: if first_stage == Stage::Triage { None } else { lead.clone() },
        reporter,
        communications: if third.is_multiple_of(3) { user(third) } else { None },
        services,
        impact: has_impact.then_some(impact),
        customers: (has_impact && plan.severity > 1).then_some(customers),
        slack_channel: has_slack.then(|| format!("C0{slack}")),
        stamps: Stamps::default(),
        created_at,
        updated_at: created_at,
        last_activity_at: created_at,
        updates: Vec::new(),
        timeline: Vec::new(),
        paged: None,
        attachments: Vec::new(),
        deleted: false,
        json: Bytes::new(),
    };
    let position = account.insert(incident);
    let mut resolved_before = false;
    for (step, (offset, stage)) in plan.steps.iter().enumerate() {
        let at = created_at + *offset;
        let text_choice = account.rng().usize(..);
        let Some(incident) = account.incidents.get_mut(position) else {
            return;
        };
        if stage.category() == "live" {
            incident.severity = severity.clone();
            incident.lead = lead.clone();
        }
        incident.enter(*stage, at);
        let template = said(*stage, resolved_before, text_choice);
        // One update in six says nothing and only moves the status.
        let message =
            (!text_choice.is_multiple_of(6) || step == 0).then(|| template.replace("{service}", &subject));
        resolved_before |= stage.category() == "learning";
        let updater =
            if step == 0 { creator.clone() } else { lead.clone().map_or(Actor::Workflow, Actor::User) };
        account.note(position, at, updater, message, None);
    }
    let Some(incident) = account.incidents.get_mut(position) else {
        return;
    };
    incident.stamps.set(Stamp::Reported, Some(created_at));
    // Somebody was paged for every third of the worse ones.
    let paged = created_at + Duration::minutes(1 + i64::try_from(number % 9).unwrap_or(0));
    if plan.severity > 1 && plan.mode == Mode::Standard && number.is_multiple_of(3) && paged < now {
        incident.paged = Some(paged);
    }
    // Every other timeline has a line that somebody wrote, which no entry of the activity log stands behind.
    if number.is_multiple_of(2) {
        incident.timeline.push(TimelineItem {
            id: format!("{}NTE", incident.id.get(..23).unwrap_or(&incident.id)),
            at: created_at + Duration::minutes(1),
            title: "First customers asked about it".to_owned(),
            description: None,
            creator: incident.reporter.clone().map_or(Actor::ApiKey, Actor::User),
            activity_log_id: None,
        });
    }
    if plan.mode == Mode::Retrospective {
        let began = created_at - Duration::hours(30) - lag * 9;
        incident.stamps.set(Stamp::ImpactStarted, Some(began));
        incident.stamps.set(Stamp::Resolved, Some(began + lag * 4));
    } else if has_impact_start && first_stage != Stage::Triage {
        incident.stamps.set(Stamp::ImpactStarted, Some(created_at - lag));
    }
    let resolved = incident.stamps.get(Stamp::Resolved).is_some();
    match oddity {
        // Somebody cleared the field: a reader has to fall back on the next best source.
        0..80 if resolved => incident.stamps.set(Stamp::Resolved, None),
        80..130 if resolved => {
            incident.stamps.set(Stamp::Resolved, None);
            incident.stamps.set(Stamp::Fixed, None);
        }
        // Somebody mistyped the day: resolved before it started.
        130..135 if resolved => {
            incident.stamps.set(Stamp::Resolved, Some(created_at - lag - Duration::days(1)))
        }
        // A field was edited later, which moves `updated_at` and nothing else.
        135..400 => {
            let room = (now - incident.updated_at).num_seconds().min(172_800);
            incident.updated_at += Duration::seconds(room / 3);
            incident.last_activity_at = incident.last_activity_at.max(incident.updated_at);
        }
        _ => {}
    }
}

fn said(stage: Stage, resolved_before: bool, choice: usize) -> &'static str {
    let texts = match stage {
        Stage::Triage => words::OPENING,
        Stage::Investigating if resolved_before => words::REOPENED,
        Stage::Investigating => words::OPENING,
        Stage::Fixing => words::FIXING,
        Stage::Monitoring => words::MONITORING,
        Stage::Paused => words::PAUSED,
        Stage::Documenting | Stage::Reviewing => words::RESOLVED,
        Stage::Closed => words::CLOSING,
        Stage::Declined => words::DECLINED,
        Stage::Canceled => words::CANCELED,
        Stage::Merged => words::MERGED,
    };
    pick(texts, choice).copied().unwrap_or("")
}

/// Any element, chosen by a number of any size.
fn pick<T>(from: &[T], choice: usize) -> Option<&T> {
    from.get(choice.checked_rem(from.len())?)
}

/// Merged incidents point at the nearest one that lives on; the pointer is on their last update.
fn point_merged_at_a_survivor(account: &mut Account) {
    let survives = |incident: &Incident| {
        !incident.private && incident.mode == Mode::Standard && !incident.stage.hidden_by_default()
    };
    let mut pointers = Vec::new();
    for (position, incident) in account.incidents.iter().enumerate() {
        if incident.stage != Stage::Merged {
            continue;
        }
        let (before, after) = account.incidents.split_at_checked(position).unwrap_or_default();
        let target =
            before.iter().rev().find(|other| survives(other)).or_else(|| after.iter().find(|o| survives(o)));
        if let (Some(target), Some(last)) = (target, incident.updates.last()) {
            pointers.push((*last, target.id.clone()));
        }
    }
    for (slot, target) in pointers {
        if let Some(update) = account.updates.get_mut(slot) {
            update.merged_into = Some(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn bytes(account: &Account) -> Vec<Bytes> {
        account.incidents.iter().map(|incident| incident.json.clone()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let first = account(200, 7, now(), 90, None);
        assert_eq!(bytes(&first), bytes(&account(200, 7, now(), 90, None)));
        assert_ne!(bytes(&first), bytes(&account(200, 8, now(), 90, None)));
        let said = |account: &Account| -> Vec<String> {
            account.updates.iter().map(|update| account.update_json(update)).collect()
        };
        assert_eq!(said(&first), said(&account(200, 7, now(), 90, None)));
    }

    #[test]
    fn every_incident_has_as_many_updates_as_were_asked_for() {
        for updates in [1, 4, 9] {
            let account = account(200, 7, now(), 90, Some(updates));
            assert!(account.incidents.iter().all(|incident| incident.updates.len() == updates));
        }
    }

    #[test]
    fn a_small_account_has_every_category_and_mode() {
        let account = account(20, 1, now(), 90, None);
        for stage in Stage::ALL {
            let category = stage.category();
            assert!(account.incidents.iter().any(|one| one.stage.category() == category), "{category}");
        }
        for mode in [Mode::Standard, Mode::Retrospective, Mode::Test, Mode::Tutorial] {
            assert!(account.incidents.iter().any(|one| one.mode == mode), "{mode:?}");
        }
        assert!(account.incidents.iter().any(|one| one.private));
        assert!(account.incidents.iter().any(|one| one.severity.is_none()));
        let window = now() - Duration::days(90);
        assert!(account.incidents.iter().any(|one| one.created_at < window));
    }

    #[test]
    fn nothing_happens_after_the_present_or_before_it_was_created() {
        for seed in 0..5 {
            let account = account(400, seed, now(), 90, None);
            for one in &account.incidents {
                assert!(one.created_at <= one.updated_at && one.updated_at <= now(), "{}", one.name);
                assert!(one.updated_at <= one.last_activity_at && one.last_activity_at <= now());
            }
            assert!(account.updates.iter().all(|update| update.created_at <= now()));
        }
    }

    #[test]
    fn every_merged_incident_names_a_living_target() {
        let account = account(500, 3, now(), 90, None);
        let merged = account.incidents.iter().filter(|one| one.stage == Stage::Merged);
        for one in merged {
            let pointer =
                one.updates.iter().filter_map(|slot| account.updates[*slot].merged_into.as_ref()).next_back();
            let target = account.find(pointer.expect("a pointer")).expect("a target");
            assert_ne!(target.stage, Stage::Merged);
        }
    }
}
