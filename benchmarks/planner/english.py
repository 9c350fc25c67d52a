"""English around the world's own vocabulary: verbs, tenses, places and function words that stories are written with."""

ACTION_WORDS = {
    "sitting": "sits sit sitting seated perches perch perched crouches crouch kneels kneel",
    "standing": "stands stand standing stays stay comes come arrives arrive returns return meets meet sees see "
    "finds find greets greet stops stop joins join wakes wake talks talk waves wave discovers discover",
    "walking": "walks walk walking goes go going wanders wander strolls stroll travels travel follows follow "
    "climbs climb leads marches steps moves move enters trudges trots hikes hike roams strides tiptoes tiptoe "
    "creeps",
    "waiting": "waits wait waiting",
    "looking around": "looks look looking searches search peers gazes stares",
    "resting": "rests rest resting lies relaxes relax curls curl",
    "running": "runs run running races race racing rushes rush hurries hurry chases chase chasing jogs sprints "
    "dashes jumps plays play playing hops hop hopping scampers scurries gallops",
    "sleeping": "sleeps sleep sleeping naps nap napping asleep dreams dreaming snores dozes doze dozing",
}


def _bases(verb: str) -> list[str]:
    """ "visits" -> "visit", "carries" -> "carry", "watches" -> "watch"."""
    ends = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "s": ""}
    return next(([verb.removesuffix(end) + base] for end, base in ends.items() if verb.endswith(end)), [])


_VERBS = (
    "talks talk left holding reading flying riding driving pushing holds hold carries carry carrying gives give "
    "takes take brings bring shows show says say wears wear puts put gets get has have leaves leave disappears "
    "vanishes departs waves wave likes like loves love wants starts start begins begin falls fall flies fly "
    "drives drive rides ride reads read hugs hug helps help eats eat makes make thinks hears calls asks tells "
    "pushes pulls kicks throws catches opens watches visits lives live smiles laughs sings dances discovers "
    "discover lands floats hangs grows shines rises sets beats sails rows paints builds cooks drinks bakes picks "
    "plants swims swings skates digs hides knocks points bows nods cries yawns whispers shouts cheers celebrates "
    "lifts drops rolls shares buys sells keeps turns becomes belongs remains learns teaches tries needs knows "
    "lets sends serves offers enjoys admires chats decides agrees promises shivers hums whistles giggles replies "
    "answers thanks fetches collects gathers pours washes bounces glows twinkles grabs sniffs splashes paddles drifts "
    "feels forgets remembers waters follows guards sneaks crawls skips swoops spots notices reaches passes "
    "crosses leans hurts breaks fixes repairs wins loses invites"
).split()
# Verbs that are no action of the world, in both forms of the present.
VERBS = tuple(dict.fromkeys(form for verb in _VERBS for form in (verb, *_bases(verb))))

# Past tense and present of one verb.
PAST = (
    "sat:sits stood:stands stayed:stays walked:walks waited:waits looked:looks rested:rests lay:lies ran:runs "
    "slept:sleeps napped:naps met:meets saw:sees found:finds greeted:greets talked:talks played:plays came:comes "
    "arrived:arrives returned:returns went:goes held:holds carried:carries gave:gives took:takes brought:brings "
    "showed:shows said:says wore:wears put:puts got:gets had:has waved:waves liked:likes loved:loves wanted:wants "
    "started:starts began:begins fell:falls flew:flies drove:drives rode:rides hugged:hugs helped:helps ate:eats "
    "made:makes thought:thinks heard:hears called_to:calls asked:asks told:tells pushed:pushes pulled:pulls "
    "kicked:kicks threw:throws caught:catches opened:opens watched:watches visited:visits lived:lives "
    "smiled:smiles laughed:laughs sang:sings danced:dances discovered:discovers joined:joins wandered:wanders "
    "strolled:strolls travelled:travels traveled:travels followed:follows climbed:climbs searched:searches "
    "raced:races rushed:rushes hurried:hurries chased:chases jumped:jumps dreamed:dreams stopped:stops "
    "disappeared:disappears vanished:vanishes was:is were:are been:is entered:enters rained:rains snowed:snows "
    "woke:wakes moved:moves relaxed:relaxes landed:lands floated:floats rose:rises did:does named_after:named"
).split()

# Read as other words: tenses, contractions, numerals, words of two parts.
FORMS = {
    **{past.replace("_", " "): now for past, now in (pair.split(":") for pair in PAST)},
    **dict.fromkeys(("isn't", "wasn't", "is n't"), "is not"),
    **dict.fromkeys(("aren't", "weren't"), "are not"),
    **dict.fromkeys(
        (
            "doesn't",
            "don't",
            "didn't",
            "won't",
            "can't",
            "cannot",
            "couldn't",
            "wouldn't",
            "shouldn't",
            "hadn't",
            "hasn't",
            "haven't",
            "mustn't",
            "does not",
            "do not",
            "did not",
        ),
        "not",
    ),
    **dict(zip("1 2 3 4 5".split(), "one two three four five".split(), strict=True)),
    "a pair": "two",
    "a couple": "two",
    "pair of": "two",
    "couple of": "two",
    "a few": "few",
    "no longer": "not",
    "sail boat": "sailboat",
    "bow tie": "bowtie",
    "top hat": "hat",
    "bowtie": "bowtie",
    "bow ties": "bowtie",
    "there's": "there is",
    "it's": "it is",
    "i'm": "i am",
    "she's": "she is",
    "he's": "he is",
    "they're": "they are",
    "on top": "on top",
    "to rain": "rains",
    "to snow": "snows",
    "snow falls": "snows",
    "rain falls": "rains",
    "falls asleep": "sleeps",
    "fell asleep": "sleeps",
    "fall asleep": "sleep",
    "inside of": "inside",
    "each other": "together",
    "is called": "is named",
    "is named": "is named",
    "too": "also",
    "neither": "no",
    "a bit": "",
    "nothing but": "",
    "nowhere": "not here",
    "nor": "no",
    "an other": "another",
    "would like": "wants",
    "would love": "wants",
    "on to": "onto",
    "in to": "into",
    "atop": "on top of",
    "on the top of": "on top of",
    "at the top of": "on top of",
    "in between": "between",
    "as well": "also",
    "drummed": "beats",
    "drumming": "beats",
    "lots of": "some",
    "a lot of": "some",
    "plenty of": "some",
    "full of": "with some",
    "the two of them": "they",
    "both of them": "they",
    "all of them": "they",
    "the pair": "they",
    "the two friends": "they",
    "the three friends": "they",
    "all three friends": "they",
    "all three": "they",
    "the three of them": "they",
    "heads": "head",
    "any more": "",
    "any longer": "",
    "at all": "",
    "as fast as she can": "",
    "as fast as he can": "",
    "as fast as they can": "",
    "all by herself": "by herself",
    "all by himself": "by himself",
    "all on her own": "by herself",
    "all on his own": "by himself",
    "on her own": "by herself",
    "on his own": "by himself",
    "smaller": "small",
    "shorter": "small",
    "bigger": "large",
    "larger": "large",
    "taller": "large",
    "pals": "friends",
    "sky had": "sky has",
    "buddies": "friends",
    "companions": "friends",
    "tiny": "small",
    "big": "large",
    "little": "small",
    "eyeglasses": "glasses",
    "eye glasses": "glasses",
    **dict.fromkeys(("golden", "gold", "blond", "blonde"), "yellow"),
    **dict.fromkeys(("scarlet", "crimson", "ruby-red"), "red"),
    **dict.fromkeys(("violet", "lilac", "lavender"), "purple"),
    **dict.fromkeys(("turquoise", "navy"), "blue"),
    **dict.fromkeys(("ginger",), "orange"),
    **dict.fromkeys(("tan", "beige", "chestnut"), "brown"),
    **dict.fromkeys(("stripy", "stripey"), "striped"),
    **dict.fromkeys(("spotty", "dotty", "polkadot", "speckled"), "spotted"),
    **dict.fromkeys(("plaid", "tartan"), "checked"),
    **dict.fromkeys(("gigantic", "enormous", "massive", "giant", "huge", "tall"), "large"),
    **dict.fromkeys(("mini", "teeny", "wee"), "small"),
    "checkered": "checked",
    "chequered": "checked",
    "polka dots": "dots",
    "blanket of": "of",
    "says goodbye": "leaves",
    "wakes up": "wakes",
    "woke up": "wakes",
    "next morning": "morning",
}


def _regular_pasts() -> dict[str, str]:
    """ "sailed" -> "sails", for every verb in the third person."""
    ends = {"ies": "ied", "ches": "ched", "shes": "shed", "sses": "ssed", "es": "ed", "s": "ed"}
    # "A cat called Pip" calls nobody.
    verbs = [verb for told in (*ACTION_WORDS.values(), " ".join(_VERBS)) for verb in told.split() if verb.endswith("s")]
    verbs = [verb for verb in verbs if verb not in ("calls", "paints")]
    return {
        next(verb.removesuffix(end) + past for end, past in ends.items() if verb.endswith(end)): verb for verb in verbs
    }


# Phrases of words that are read already, each form of its verb with it.
_PHRASES = {
    "sleeps": "goes to sleep, drifts off, nods off, dozes off, drops off, takes a nap, has a nap, falls fast asleep, "
    "falls sound asleep, drifts to sleep, goes back to sleep, has fallen asleep",
    "sleeps in bed": "goes to bed",
    "rests": "takes a rest, has a rest, takes a break",
    "walks": "goes for a walk, takes a walk, sets off, sets out, makes her way, makes his way, makes their way",
    "runs": "goes for a run",
    "races": "has a race",
    "swims": "goes swimming, goes for a swim",
    "stands up": "gets up, stands up",
    "sits": "takes a seat, sits up",
    "looks for": "goes looking for, is in search of, hunts for, searches for",
    "looks around": "looks left and right, looks everywhere, looks all around, looks about",
    "eats": "has a picnic, has lunch, has dinner, has breakfast, has supper",
    "plays with": "has fun with",
    "hides": "takes cover",
    "meets": "bumps into, comes across",
    "holds": "holds on to, hangs on to, holds onto, hangs onto",
    "comes": "turns up, shows up",
}


def _phrases() -> dict[str, str]:
    """Phrases with their verb in the third person and in its base form -> what they are read as."""
    told: dict[str, str] = {}
    for meaning, phrases in _PHRASES.items():
        for phrase in phrases.split(", "):
            verb, _, rest = phrase.partition(" ")
            read, _, more = meaning.partition(" ")
            told[phrase] = meaning
            base = {"goes": "go", "has": "have", "is": "are"}.get(verb) or _bases(verb)[0]
            told[f"{base} {rest}"] = f"{_bases(read)[0]} {more}".strip()
    return told


FORMS = {
    **_regular_pasts(),
    **FORMS,
    **_phrases(),
    "invited": "invites",
    "lost": "loses",
    "lets go": "drops",
    "let go": "drops",
}

SETTINGS = {
    "meadow": "meadow, meadows, grass, hill, hills, field, grassy field, grassy hill, lawn, park, garden, "
    "countryside, hilltop, hillside, yard, backyard, fields, orchard, farm, pond, river, stream, brook, "
    "riverbank, "
    "riverside, playground, farmyard, pasture, vineyard, country, back garden, front garden, barnyard, "
    "bridge, swamp, marsh, zoo",
    "forest": "forest, woods, wood, among the trees, between the trees, through the trees, forest clearing, "
    "clearing, jungle, woodland, thicket, forest path, rainforest, grove, undergrowth, woodlands",
    "beach": "beach, sand, sea, shore, seaside, seashore, coast, ocean, bay, harbour, harbor, pier, waterfront, "
    "island, desert island, port, jetty, dock, lagoon, water's edge, water edge",
    "snow": "snow, snowy field, snowy hill, snowy hills, ice, iceberg, "
    "frozen lake, frozen pond, snowdrift, snowdrifts, north pole, south pole, antarctica, arctic",
    "desert": "desert, dunes, dune, sand dunes, sand dune",
    "street": "street, streets, town, city, road, pavement, sidewalk, village, alley, lane, square, market, "
    "marketplace, downtown, crossroads, bus stop, corner, station, shop, bakery, bookshop, school gate, fair, "
    "neighbourhood, neighborhood",
    "room": "room, playroom, nursery, hallway, attic, library, classroom, cabin, hut, in bed, inside, indoors, "
    "dining room, bathroom, cellar, basement, "
    "barn, workshop, school, museum, theatre, theater, castle, palace, tent, cafe, restaurant, office, studio, by "
    "the fire, "
    "by the fireplace, fireside, to bed, into bed, on the bed, on the sofa, on the carpet, on the rug, on the "
    "couch, den, "
    "burrow, armchair, sofa, couch, carpet, rug, table, desk, floor, window, fireplace, stove, oven, shelf, "
    "windowsill, bed, "
    "living room, bedroom, kitchen, at home, in the house, in a house, inside the house, into the house, in her "
    "house, in his house, in their house, in its house, in her cottage, in his cottage, in their cottage, in her "
    "room, in his room, into her house, into his house, inside a house, into a house, in the cottage, in a cottage, "
    "into the cottage",
    "mountains": "mountains, mountain, summit, cliff, cliffs, mountaintop, mountainside, peaks, peak, valley, "
    "mountain valley, among the mountains, below the peaks, volcano, canyon, cave, mountain top, mountain path",
}
TIMES = {
    "day": "by day, during the day, all day, daylight, in daylight, morning, noon, afternoon, sunrise, dawn, the "
    "sun rises, next day, the sun shines, the sun is shining, sunny day, rainy day, snowy day, daytime, midday, "
    "daybreak, first light, lunchtime, lunch, breakfast, the sun comes up, the sun is up, next day, noontime, "
    "breakfast time, all morning, all afternoon",
    "sunset": "sunset, dusk, evening, sundown, twilight, the sun sets, the sun is setting, the sun goes down, the "
    "sun is going down, the sun sinks, supper, dinner",
    "night": "night, it is late, it is getting late, it is very late, under the stars, moonlight, late at night, "
    "midnight, the moon rises, moon, moonlit, starry, "
    "dark, tonight, the stars come out, starlight, starry sky, the moon, nightfall, bedtime, darkness, the stars "
    "are out, the stars shine, the moon shines, the moon is shining",
}
WEATHERS = {
    "clear": "clear sky, the sky is clear, under a clear sky, clear weather, sunny, sunshine, the sun comes out, "
    "clear, the sky clears, in the sun, the sun shines, the sun is shining, sunny day, the sky has cleared, "
    "the sky clears up, the sun is out, in spring, in summer, cloudless, the weather is fine, fine weather",
    "rain": "rain, rainy, rains, raining, rainy day, rainstorm, storm, stormy, rainy weather, thunderstorm, "
    "drizzle, drizzles, pouring, downpour, rain is falling, rain falls, raindrops, raincloud",
    "snowfall": "snowfall, snowy, snows, snowing, falling snow, in falling snow, snowy weather, snowstorm, "
    "blizzard, snowflakes, snow is falling, snow falls, snow starts, it starts to snow, snow begins, it begins to "
    "snow, snow is still falling, the snow falls",
}

FUNCTION_WORDS = (
    "a after again all alone along also am an and another are around as at away back name birthday be because "
    "before behind beside between both but by can close day days does down during each everyone everybody far few "
    "five for four friend friends from front gone good great had happy has have he her here herself him himself "
    "his home how i if in into is it its itself just late later left long lot many me more moment morning much my "
    "near never new next nice no nobody not nothing now of off on once one only onto other our out outside over "
    "own past quickly right same she side sky slowly so some somebody someone something soon still suddenly sun "
    "than that the their them then there these they this those three through time to today together top toward "
    "towards two under underneath beneath below until up upon us very was way we well were when where which while "
    "who will with without would yes yet you your called named first second third last finally meanwhile several "
    "best whose mother father brother sister winter summer spring autumn outdoors outside head shoulder am my "
    "shoulders every son daughter grandson baby joy foot fur feathers skin shell hair scales coat quietly happy sad "
    "angry lonely "
    "wearing cousin cousins sisters brothers siblings twin twins mum mom dad uncle aunt niece nephew grandmother "
    "grandma "
    "grandfather grandpa granddaughter pair let look cold warm scene picture about opposite sides middle against "
    "could should might must may afraid except anywhere somewhere ago already ever almost nearly even friend tail "
    "lap knee knees guest guests visitor visitors neighbour neighbours neighbor companion nose face eyes feet paws "
    "toes quite rather really pretty empty roof "
    "too goodbye hello world story animals weather always everywhere nearby above alongside across sadly tired"
).split()

# Plurals that end otherwise than the stage's.
PLURALS = {"puppies": "puppy", "bunnies": "bunny", "kitties": "kitty"}

# What people call the world's kinds, colours, patterns and attire beside the stage's own words.
_SYNONYMS = {
    "cat": "kitty tomcat",
    "dog": "pup hound doggy",
    "rabbit": "hare",
    "house": "farmhouse",
    "tree": "oak pine palm willow fir birch",
    "ball": "football basketball",
    "boat": "rowboat rowingboat canoe raft dinghy yacht",
    "car": "truck",
    "lamp": "lantern streetlamp lamppost nightlight torch",
    "book": "storybook picturebook notebook diary",
    "cake": "cupcake cheesecake",
    "flower": "rose tulip daisy sunflower daffodil poppy lily",
    "umbrella": "brolly",
}
KINDS = {noun: kind for kind, nouns in _SYNONYMS.items() for noun in nouns.split()}
PLURALS |= {
    noun[:-1] + "ies" if noun[-1] == "y" and noun[-2] not in "aeo" else f"{noun}s": noun
    for noun in KINDS
    if noun not in ("kitty", "poppy", "lily")
}
ACCESSORIES = {
    **dict.fromkeys("hood cap beret bonnet helmet beanie sunhat".split(), "hat"),
    **dict.fromkeys(("sunglasses", "goggles", "spectacles"), "glasses"),
    **dict.fromkeys(("tiara", "coronet"), "crown"),
    **dict.fromkeys(("shawl",), "scarf"),
    **dict.fromkeys(("satchel", "knapsack", "bag"), "backpack"),
}

# Sides of kinds that people expect to be larger or smaller than most.
SCALES = {
    **dict.fromkeys(("house", "tree", "car", "boat", "bear", "dragon"), 1.15),
    **dict.fromkeys(("mouse", "frog", "lamp", "cake", "flower", "drum", "star"), 0.85),
    **dict.fromkeys(("ball", "book"), 0.7),
}

# Colours of a kind that people expect if nothing is said, likeliest first: never white, which snow and clouds hide. A
# second creature gets the next one; things of a kind are alike.
USUAL_COLOURS = {
    kind: tuple(colours.split())
    for kind, colours in {
        "fox": "orange red brown",
        "cat": "orange black brown",
        "dog": "brown black orange",
        "rabbit": "brown pink black",
        "bear": "brown black orange",
        "owl": "brown orange purple",
        "penguin": "black blue purple",
        "frog": "green yellow brown",
        "mouse": "brown pink black",
        "turtle": "green brown blue",
        "robot": "blue red yellow",
        "dragon": "green red purple",
        "house": "red",
        "tree": "green",
        "ball": "red",
        "kite": "red",
        "boat": "red",
        "car": "red",
        "lamp": "yellow",
        "book": "blue",
        "umbrella": "purple",
        "cake": "pink",
        "flower": "red",
        "star": "yellow",
        "balloon": "red",
        "drum": "red",
    }.items()
}
