"""More verbs than the training stories use: every form of each is read as its third person ("swung" -> "swings").

Inflected by LemmInflect (dictionary of the SPECIALIST Lexicon) when `world.json` is made; it is not needed later.
"""

from lemminflect import getAllInflections

# Action of the world -> verbs that show it.
ACTIONS = {
    "sitting": "squat settle huddle sunbathe",
    "resting": "lounge snuggle cuddle recline nestle sprawl",
    "sleeping": "slumber snooze hibernate",
    "waiting": "linger hesitate",
    "walking": "waddle stomp toddle trek stumble limp shuffle plod pad amble saunter hobble stalk prowl parade "
    "approach head march lead step trudge trot stride wade",
    "running": "leap bound dart zoom charge romp frolic speed scramble flee gallop sprint dash jog scurry scamper "
    "tumble scuttle jump bounce",
    "looking around": "peek glance explore hunt wonder squint gaze stare peer",
    "standing": "halt pause wave greet",
}
_OTHERS = (
    "bang hit fish accept add admit allow appear applaud arrange attach balance bark beam beg believe bend bite blink "
    "blow blush bother "
    "brush bump burn burst bury calm care chew chirp chuckle clap clean close comb comfort complain continue cough "
    "count "
    "cover crack crash croak cuddle curtsy dare decorate delight deliver deserve drag draw dream dress drip dry "
    "dump earn "
    "empty end escape exclaim expect explain fan fasten feed fetch fight fill finish fit float fold forgive free "
    "freeze "
    "frown gasp glare glide grin groan growl grumble guess guide hand happen harvest hatch hate hoist hoot hope howl "
    "imagine insist introduce invent juggle kiss know lay lend lick light lick listen load lock lower marvel mean "
    "melt mend "
    "mention miss moan mumble munch murmur need nibble nudge nuzzle order overhear own pack pant pat paw pay peel "
    "perform pet "
    "place please pluck polish pop praise prefer prepare press pretend prod protect prove purr quack question race "
    "realise realize receive recognise recognize refuse remind remove rescue ride ring roar rock rub ruin save scare "
    "scold scoop scratch scream sew shake shelter shoot shriek shrug shut sigh sink slam slice slide slip slither "
    "smell "
    "snap snarl sneeze snort soar sob sort spill spin splutter sprinkle squeak squeal squeeze stack stammer start "
    "steal "
    "steer stick stir stretch strike stroke struggle study suggest surprise surround suspect swallow sway sweep swirl "
    "tap taste tease thank tickle tidy tie topple toss touch tow trade tremble trip trust tuck tug twirl twist unpack "
    "untie unfold unroll unwrap use wag warm warn watch weave weep welcome whimper whine wiggle win wink wipe wish "
    "wobble "
    "wonder work worry wrap wriggle write yell yelp agree appear bring build buy choose feel fight find forget get "
    "give "
    "grow hear hide hold hurt keep know lead learn leave let lose make meet pay put read run say see sell send set "
    "shake "
    "show sing sit sleep speak spend stand swim take teach tell think throw understand wake wear win catch fall fly "
    "lie "
    "rise hang dig drive eat drink break draw ride sink spring swing sweep begin become bend blow come go do "
    "discover answer cook float paint cheer chat share visit paddle row sail skate hum whistle giggle yawn whisper "
    "shout "
    "bow nod cry point knock climb follow cross reach pass land drift roll drop lift fetch collect gather pour wash "
    "glow "
    "twinkle grab sniff splash lean repair fix invite guard sneak crawl skip swoop notice spot shiver smile laugh "
    "dance "
    "carry push pull kick open close live like love want help ask call move play look hug chase stay wait rest turn "
    "travel talk pick plant bake water beat shine try stop join hop nap doze snore perch crouch kneel curl relax "
    "stroll "
    "wander roam creep tiptoe hike hurry rush return arrive enter search bounce celebrate serve offer enjoy admire "
    "decide "
    "promise remember remain belong reply thank"
).split()
# Words that are names of things, looks or people far more often than verbs, and forms that tell of something else.
_NOT_VERBS = frozenset(
    "felt ground saw found left fit fitting rose wound leaves flower flowers drum light lights painted spotted called "
    "star stars kite spring springs fan fans pet pets paw paws ring rings hand hands head heads order orders end ends "
    "place places work works dress dresses pop pops rock rocks draw draws pack packs stick sticks cover covers sail "
    "tie "
    "ties question questions use uses load loads wish dream dreams fish clear warm dry empty free clean calm "
    "lower own "
    "close bare light lit lighted fit back wave hope hopes care cares guess lost lying lay laid lies lie lain born "
    "met won wood bore bow bows bowed bark pad pads parade step steps trip trips slice slices scoop sort sorts fold "
    "mean means count counts delight surprise surprises comb brush pause speed speeds charge bounds bound shelter "
    "shelters scare study please pleased like liked likes bite bites escape steal do does did done doing be "
    "watch water wash welcome cuddle cuddles hug snap snaps snuggle taste touch smell stack stacks bump hunt treasure "
    "set sets row rows beat rest rests land lands swing swings play plays walk walks".split()
)
# What _NOT_VERBS holds back above though it is a verb's only form behind somebody.
_STILL = {
    "having": "has",
    "lie": "lies",
    "being": "is",
    "lit": "lights",
    "lay": "lies",
    "lying": "lies",
    "laid": "puts",
    "won": "wins",
    "bowed": "bows",
    "clapped": "claps",
}


def forms(known: frozenset[str]) -> dict[str, str]:
    """Every form of every verb but those `known` -> its third person singular."""
    told: dict[str, str] = {}
    for verb in dict.fromkeys((*" ".join(ACTIONS.values()).split(), *_OTHERS)):
        inflected = getAllInflections(verb, upos="VERB")
        third = inflected.get("VBZ", (f"{verb}s",))[0]
        for tag in ("VBD", "VBN", "VBG"):
            for form in inflected.get(tag, ()):
                if form not in known and form not in _NOT_VERBS:
                    told.setdefault(form, third)
    return told | _STILL


def verbs() -> dict[str, str | None]:
    """Third person and base of every verb -> its action, None if it is none of the world's."""
    action = {verb: what for what, told in ACTIONS.items() for verb in told.split()}
    told: dict[str, str | None] = {}
    for verb in dict.fromkeys((*action, *_OTHERS)):
        third = getAllInflections(verb, upos="VERB").get("VBZ", (f"{verb}s",))[0]
        for form in (third, verb):
            if form not in _NOT_VERBS:
                told[form] = action.get(verb)
    return told
