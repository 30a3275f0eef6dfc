//! The vocabulary of the invented company: what its people, services and incidents are called.
//!
//! Everything here is made up, and every address ends in `.example`, so nothing can reach a real person.

/// First and last names, combined by position.
pub(crate) const PEOPLE: &[(&str, &str)] = &[
    ("Amara", "Okafor"),
    ("Björn", "Lindqvist"),
    ("Chen", "Wei"),
    ("Dalia", "Haddad"),
    ("Emeka", "Nwosu"),
    ("Freya", "Sørensen"),
    ("Giulia", "Romano"),
    ("Hugo", "Marchetti"),
    ("Ines", "Carvalho"),
    ("Jonas", "Weber"),
    ("Keiko", "Tanaka"),
    ("Lucas", "Moreau"),
    ("Mariam", "Diallo"),
    ("Nadia", "Petrova"),
    ("Oscar", "Nilsson"),
    ("Priya", "Raman"),
    ("Quentin", "Leroy"),
    ("Rosa", "Jimenez"),
    ("Samir", "Aziz"),
    ("Tess", "van Dijk"),
    ("Umar", "Farouk"),
    ("Vera", "Kowalska"),
    ("Wanjiru", "Kamau"),
    ("Xavier", "Dubois"),
    ("Yusuf", "Demir"),
    ("Zoe", "Papadakis"),
    ("Arjun", "Mehta"),
    ("Beatriz", "Souza"),
    ("Callum", "Fraser"),
    ("Dora", "Horvath"),
    ("Elias", "Brandt"),
    ("Fatima", "Zahra"),
];

/// Team names; the services below name one by position.
pub(crate) const TEAMS: &[&str] = &["Payments", "Platform", "Storefront", "Data", "Identity", "Logistics"];

/// A service: name, the id it has in the foreign catalog, an alias, its team and its tier.
pub(crate) const SERVICES: &[(&str, &str, &str, usize, &str)] = &[
    ("payments-api", "svc-payments-api", "pay", 0, "tier-1"),
    ("billing-worker", "svc-billing-worker", "billing", 0, "tier-2"),
    ("ledger", "svc-ledger", "general-ledger", 0, "tier-1"),
    ("fraud-scoring", "svc-fraud-scoring", "fraud", 0, "tier-2"),
    ("api-gateway", "svc-api-gateway", "gateway", 1, "tier-1"),
    ("service-mesh", "svc-service-mesh", "mesh", 1, "tier-1"),
    ("job-scheduler", "svc-job-scheduler", "cron", 1, "tier-2"),
    ("feature-flags", "svc-feature-flags", "flags", 1, "tier-2"),
    ("storefront-web", "svc-storefront-web", "web", 2, "tier-1"),
    ("checkout", "svc-checkout", "basket", 2, "tier-1"),
    ("product-search", "svc-product-search", "search", 2, "tier-2"),
    ("recommendations", "svc-recommendations", "recs", 2, "tier-3"),
    ("image-resizer", "svc-image-resizer", "thumbs", 2, "tier-3"),
    ("event-pipeline", "svc-event-pipeline", "events", 3, "tier-2"),
    ("warehouse-loader", "svc-warehouse-loader", "etl", 3, "tier-3"),
    ("reporting", "svc-reporting", "reports", 3, "tier-3"),
    ("auth-service", "svc-auth-service", "login", 4, "tier-1"),
    ("session-store", "svc-session-store", "sessions", 4, "tier-1"),
    ("user-profiles", "svc-user-profiles", "profiles", 4, "tier-2"),
    ("notification-hub", "svc-notification-hub", "notify", 4, "tier-2"),
    ("order-tracking", "svc-order-tracking", "tracking", 5, "tier-2"),
    ("inventory", "svc-inventory", "stock", 5, "tier-1"),
    ("carrier-sync", "svc-carrier-sync", "carriers", 5, "tier-3"),
    ("label-printer", "svc-label-printer", "labels", 5, "tier-3"),
];

/// The organisation's own severities, mildest first: (name, description).
pub(crate) const SEVERITIES: &[(&str, &str)] = &[
    ("Notice", "Nobody outside the team can tell. Handle within working hours."),
    ("Degraded", "Something is slower or rougher than it should be; customers can still do everything."),
    ("Partial outage", "One feature or one region does not work."),
    ("Major outage", "A core journey fails for many customers. Everyone on call joins."),
    ("Blackout", "Nothing works, or data is at risk. Wake everybody."),
];

/// What goes wrong, after the service's name.
pub(crate) const SYMPTOMS: &[&str] = &[
    "returns 5xx for a share of requests",
    "latency above 4 s at the 99th percentile",
    "is out of database connections",
    "queue is not draining",
    "pods are crash-looping after the deploy",
    "certificate expired",
    "is rejecting valid tokens",
    "is out of disk space on the primary",
    "times out against a downstream provider",
    "serves stale data from its cache",
    "lost its leader and does not elect a new one",
    "drops messages under load",
    "memory grows until the node evicts it",
    "fails its health checks in eu-west-1",
    "charges twice on retry",
    "migration holds a lock on the orders table",
    "error budget burned within an hour",
    "cannot resolve internal host names",
];

/// What a summary says of the cause.
pub(crate) const CAUSES: &[&str] = &[
    "A deploy changed the default pool size.",
    "A provider had an outage of its own.",
    "Traffic doubled after a campaign went out.",
    "A migration ran longer than planned.",
    "An expired certificate was not part of the rotation.",
    "A feature flag was switched on for everyone at once.",
    "A node pool upgrade moved every replica to the same zone.",
    "A retry loop without backoff amplified a small failure.",
];

pub(crate) const OPENING: &[&str] = &[
    "We are looking into alerts from {service}.",
    "Support reports that customers are affected by {service}; we are investigating.",
    "The error rate of {service} went up sharply a few minutes ago.",
];

pub(crate) const FIXING: &[&str] = &[
    "We know the cause in {service} and are rolling back.",
    "Found it: a bad configuration of {service}. A fix is on its way out.",
    "Scaling {service} up while the proper fix is reviewed.",
];

pub(crate) const MONITORING: &[&str] = &[
    "The fix for {service} is out; error rates are falling.",
    "Rolled back {service}. We keep watching for half an hour.",
];

pub(crate) const RESOLVED: &[&str] = &[
    "{service} is back to normal. We will write this one up.",
    "Impact is over. Thanks to everybody who joined at short notice.",
];

pub(crate) const CLOSING: &[&str] =
    &["The debrief is done and the follow-ups are filed.", "Closing: nothing left to do here."];

pub(crate) const REOPENED: &[&str] = &[
    "The errors on {service} are back; reopening.",
    "We called this too early: {service} is failing again.",
];

pub(crate) const PAUSED: &[&str] = &["Waiting for the provider behind {service}; pausing until Monday."];

pub(crate) const DECLINED: &[&str] = &["Known noise from {service}, not an incident."];

pub(crate) const CANCELED: &[&str] = &["Declared by mistake; {service} is fine."];

pub(crate) const MERGED: &[&str] = &["Same cause as an incident that is already open; merging."];
