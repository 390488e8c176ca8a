//! The words of `$word`: short, common, ASCII; none is offensive, alone or next to another.

/// All words.
pub(super) const WORD_LIST: [&str; 128] = [
    "able", "air", "apple", "arm", "atlas", "autumn", "bank", "basket", "bell", "bird", "blue", "boat", "book",
    "bottle", "branch", "bread", "bridge", "bright", "brook", "calm", "candle", "canvas", "castle", "chair", "chalk",
    "circle", "city", "clay", "clear", "clock", "cloud", "coast", "copper", "corner", "cotton", "cup", "dawn", "deep",
    "desk", "door", "dream", "dust", "early", "earth", "east", "echo", "engine", "evening", "farm", "feather", "field",
    "fire", "flag", "flower", "forest", "fountain", "garden", "gate", "glass", "gold", "grain", "grass", "green",
    "harbor", "hill", "honey", "house", "island", "ivory", "kettle", "key", "lake", "lamp", "leaf", "letter", "light",
    "lime", "linen", "map", "maple", "market", "meadow", "mill", "mirror", "moon", "morning", "mountain", "music",
    "north", "oak", "ocean", "olive", "orange", "paper", "path", "pearl", "pencil", "piano", "pilot", "plain",
    "planet", "pond", "quiet", "rain", "river", "road", "rose", "sail", "salt", "sand", "shell", "silver", "sky",
    "snow", "song", "spring", "star", "stone", "story", "summer", "table", "tower", "train", "valley", "violet",
    "water", "window", "winter",
];
