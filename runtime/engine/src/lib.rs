//! Layers, losses, optimisers, schedules and metrics on candle.
