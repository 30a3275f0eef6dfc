//! The vendor's vocabulary: statuses with their categories, and timestamps.

/// The statuses of a fresh account, in the vendor's order of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Triage,
    Investigating,
    Fixing,
    Monitoring,
    Paused,
    Documenting,
    Reviewing,
    Closed,
    Declined,
    Merged,
    Canceled,
}

impl Stage {
    pub(crate) const ALL: [Self; 11] = [
        Self::Triage,
        Self::Investigating,
        Self::Fixing,
        Self::Monitoring,
        Self::Paused,
        Self::Documenting,
        Self::Reviewing,
        Self::Closed,
        Self::Declined,
        Self::Merged,
        Self::Canceled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Triage => "Triage",
            Self::Investigating => "Investigating",
            Self::Fixing => "Fixing",
            Self::Monitoring => "Monitoring",
            Self::Paused => "Paused",
            Self::Documenting => "Documenting",
            Self::Reviewing => "Reviewing",
            Self::Closed => "Closed",
            Self::Declined => "Declined",
            Self::Merged => "Merged",
            Self::Canceled => "Canceled",
        }
    }

    pub(crate) fn category(self) -> &'static str {
        match self {
            Self::Triage => "triage",
            Self::Investigating | Self::Fixing | Self::Monitoring => "live",
            Self::Paused => "paused",
            Self::Documenting | Self::Reviewing => "learning",
            Self::Closed => "closed",
            Self::Declined => "declined",
            Self::Merged => "merged",
            Self::Canceled => "canceled",
        }
    }

    /// Left out of lists that do not name a status category.
    pub(crate) fn hidden_by_default(self) -> bool {
        matches!(self, Self::Declined | Self::Merged | Self::Canceled)
    }

    /// By name, or else the first status of a category (the app's words for a category count too).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = match text {
            "active" => "live",
            "post-incident" => "learning",
            other => other,
        };
        let named = Self::ALL.into_iter().find(|stage| stage.name().eq_ignore_ascii_case(text));
        named.or_else(|| Self::ALL.into_iter().find(|stage| stage.category() == text))
    }

    pub(crate) fn rank(self) -> i64 {
        match self {
            Self::Triage => 0,
            Self::Investigating => 1,
            Self::Fixing => 2,
            Self::Monitoring => 3,
            Self::Documenting => 4,
            Self::Reviewing => 5,
            Self::Closed => 6,
            Self::Paused => 7,
            Self::Declined => -1,
            Self::Merged => -2,
            Self::Canceled => -3,
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Investigating => "We've spotted that something is wrong, but we're not quite sure why yet.",
            Self::Fixing => "Something has gone wrong, and we know why. We're in the process of fixing it.",
            Self::Monitoring => {
                "We've tried to fix the issue, and we're waiting to see if our fix has worked."
            }
            Self::Documenting => "We're documenting what happened.",
            Self::Reviewing => "We're reviewing what we've learned from this incident.",
            Self::Closed => "We're confident the issue is resolved.",
            _ => " ",
        }
    }
}

/// The timestamps of a fresh account, in the vendor's order of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    Reported,
    Accepted,
    Declined,
    Merged,
    Canceled,
    Resolved,
    ImpactStarted,
    Identified,
    Fixed,
    Documented,
    Reviewed,
    Closed,
}

impl Stamp {
    pub(crate) const ALL: [Self; 12] = [
        Self::Reported,
        Self::Accepted,
        Self::Declined,
        Self::Merged,
        Self::Canceled,
        Self::Resolved,
        Self::ImpactStarted,
        Self::Identified,
        Self::Fixed,
        Self::Documented,
        Self::Reviewed,
        Self::Closed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reported => "Reported at",
            Self::Accepted => "Accepted at",
            Self::Declined => "Declined at",
            Self::Merged => "Merged at",
            Self::Canceled => "Canceled at",
            Self::Resolved => "Resolved at",
            Self::ImpactStarted => "Impact started at",
            Self::Identified => "Identified at",
            Self::Fixed => "Fixed at",
            Self::Documented => "Documented at",
            Self::Reviewed => "Reviewed at",
            Self::Closed => "Closed at",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stamp| stamp.name().eq_ignore_ascii_case(name.trim()))
    }
}
