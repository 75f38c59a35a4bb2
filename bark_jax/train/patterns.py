"""Everyday words and patterns of sentences; a word in braces stands for one of a list."""

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
).split()
COLOURS = "red green blue yellow black white orange purple brown pink".split()
ANIMALS = "dog cat bird fish horse cow sheep lion tiger rabbit mouse bear frog duck monkey wolf".split()
QUALITIES = "big small old young happy sad fast slow hot cold new good long little great nice".split()
THINGS = (
    "house tree river mountain water apple music table window door garden book bread milk city ocean fire star "
    "moon sun rain snow wind flower boat train car road school friend song picture story letter world"
).split()
VERBS = "see like want eat make find hear love open sing speak read know help play write".split()
PRONOUNS = "i you we they".split()
NAMES = "bark alice robert emma david".split()
PLACES = "in on under with near".split()
TIMES = "today tomorrow now".split()
DAYTIMES = "morning evening night".split()
OTHERS = (
    "hello goodbye yes no please thank sorry my your name is the a and this that are was can will not do have "
    "how what where when who why welcome to of for it he she there here very "
    "don't it's i'm let's that's can't"
).split()
EVERYDAY = sorted({
    *NUMBERS, *COLOURS, *ANIMALS, *QUALITIES, *THINGS, *VERBS, *PRONOUNS, *NAMES, *PLACES, *TIMES, *DAYTIMES, *OTHERS,
})  # fmt: skip

PLURALS = {
    "fishs": "fish", "sheeps": "sheep", "mouses": "mice", "wolfs": "wolves", "citys": "cities", "storys": "stories",
}  # fmt: skip

# The patterns of everyday sentences.
LISTS = {
    "number": NUMBERS[1:20],
    "colour": COLOURS,
    "animal": ANIMALS,
    "quality": QUALITIES,
    "thing": THINGS,
    "verb": VERBS,
    "pronoun": PRONOUNS,
    "name": NAMES,
    "place": PLACES,
    "time": TIMES,
    "daytime": DAYTIMES,
}
PATTERNS = (
    "hello, my name is {name}.",
    "hello {name}, how are you {time}?",
    "good {daytime}, {name}.",
    "{pronoun} {verb} the {quality} {animal}.",
    "{pronoun} {verb} {number} {colour} {animal}s.",
    "the {colour} {animal} is {place} the {thing}.",
    "the {thing} is {quality} and {colour}.",
    "{pronoun} can {verb} the {thing} {time}.",
    "where is the {colour} {thing}?",
    "what is {place} the {quality} {thing}?",
    "thank you, {name}, and goodbye.",
    "yes, {pronoun} {verb} the {thing} and the {thing}.",
    "no, {pronoun} will not {verb} this {thing}.",
    "please {verb} the {quality} {thing}.",
    "welcome to the {quality} {thing}.",
    "a {quality} {colour} {animal} and a {thing}.",
    "there are {number} {thing}s {place} the {thing}.",
    "my {animal} is very {quality}.",
    "this is my {quality} {thing}.",
    "who is {place} the {colour} {thing}?",
    "the {animal} and the {animal} are {place} the {thing}.",
    "{name} and {name} {verb} {number} {thing}s.",
    "it was a {quality} {daytime}.",
    "do you {verb} my {animal}?",
    "i'm {quality}, and you are {quality}.",
    "it's {place} the {quality} {thing}.",
    "don't {verb} the {colour} {thing}.",
    "{number}, {number}, {number}, {number}.",
)

# Patterns of what people say aloud: numbers, times, dates, prices, greetings, questions and exclamations.
TENS = NUMBERS[20:28]
ONES = NUMBERS[1:10]
BELOW_HUNDRED = [*NUMBERS[1:20], *TENS, *(f"{ten} {one}" for ten in TENS for one in ONES)]
WHOLE = [
    *BELOW_HUNDRED,
    *(f"{one} hundred" for one in ONES),
    *(f"{one} hundred {rest}" for one in ONES for rest in BELOW_HUNDRED),
    *(f"{few} thousand" for few in BELOW_HUNDRED),
    *(f"{few} thousand {one} hundred" for few in BELOW_HUNDRED for one in ONES),
    *(f"{few} thousand {one} hundred {rest}" for few in ONES for one in ONES for rest in BELOW_HUNDRED[:40]),
]
FIRST = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth".split()
ORDINALS = [
    *FIRST, "fifteenth", "eighteenth", "twentieth", *(f"twenty {nth}" for nth in FIRST[:9]), "thirtieth",
    "thirty first",
]  # fmt: skip
HOURS = NUMBERS[1:13]
MINUTES = ["oh five", "ten", "fifteen", "twenty", "thirty", "forty", "forty five", "fifty", "thirty seven", "oh eight"]

SPOKEN_LISTS = {
    "few": NUMBERS[2:13],
    "whole": WHOLE,
    "below_hundred": BELOW_HUNDRED[1:],
    "digit": ["zero", *ONES],
    "ordinal": ORDINALS,
    "hour": HOURS,
    "minutes": MINUTES,
    "year": [
        *(f"nineteen {few}" for few in BELOW_HUNDRED[9:]),
        *(f"twenty {few}" for few in BELOW_HUNDRED[9:40]),
        *(f"eighteen {few}" for few in BELOW_HUNDRED[9:]),
        "two thousand",
    ],
    "money": "dollars pounds euros cents pence".split(),
    "unit": "kilometres metres miles kilograms grams litres minutes hours seconds degrees per cent".split(),
    "month": (
        "January February March April May June July August September October November December"
    ).split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "person": (
        "Alice Robert Emma David Anna Peter Mary John Susan Michael Laura Thomas Sarah Daniel Helen George Lucy Henry "
        "Grace Oliver Sophie Jack Julia Martin Rose Adam Kate Oscar Ruth Max"
    ).split(),
    "title": "Mister Missus Doctor Professor Captain".split(),
    "surname": "Smith Brown Carter Cooper Walker Green Baker Parker Young King Hill Scott Adams Cook Morgan".split(),
    "town": (
        "London Paris Berlin Rome Boston Chicago Dublin Madrid Tokyo Sydney Oxford Vienna Toronto Denver Seattle"
    ).split(),
    "food": "soup rice cheese chicken salad pizza chocolate honey butter eggs potatoes tea coffee juice".split(),
    "job": "teacher doctor farmer driver painter writer singer sailor baker lawyer nurse pilot cook student".split(),
    "feeling": "tired hungry thirsty angry afraid bored excited surprised proud worried lucky busy ready".split(),
    "weather": "sunny rainy cloudy windy foggy freezing warm wet dry stormy".split(),
    "family": "mother father sister brother daughter son uncle aunt cousin grandmother grandfather neighbour".split(),
    "adverb": "quickly slowly quietly carefully really probably never always often sometimes usually".split(),
    "praise": "wonderful amazing terrible beautiful fantastic awful brilliant lovely ridiculous delicious".split(),
    "where": [
        "at home", "at the station", "in the kitchen", "on the beach", "at school", "behind the church",
        "across the street", "in the library", "next to the bank", "upstairs", "at the airport", "in the garden",
    ],
    "doing": [
        "reading a book", "cooking dinner", "playing the piano", "waiting for the bus", "washing the dishes",
        "looking for my keys", "learning to swim", "painting the fence", "watching the birds", "writing a letter",
        "talking on the phone", "riding a bicycle", "feeding the cats", "listening to music",
    ],
}  # fmt: skip
SPOKEN_PATTERNS = (
    "It is {hour} {minutes}.",
    "The train leaves at {hour} {minutes}.",
    "It's {hour} o'clock in the {daytime}.",
    "Can we meet at half past {hour} on {day}?",
    "My flight to {town} is at a quarter to {hour}.",
    "Today is {day}, the {ordinal} of {month}.",
    "I was born on {month} {ordinal}, {year}.",
    "In {year}, my {family} moved to {town}.",
    "That costs {below_hundred} {money}.",
    "It's only {below_hundred} dollars and {below_hundred} cents!",
    "{below_hundred} {money} for a cup of {food}?",
    "The bill comes to {whole} {money}, please.",
    "There are {whole} people in the hall.",
    "The answer is {whole}.",
    "{whole} plus {whole} is more than {few}.",
    "My number is {digit} {digit} {digit}, {digit} {digit} {digit} {digit}.",
    "Room {digit} {digit} {digit} is on the {ordinal} floor.",
    "Pi is about three point one four.",
    "It weighs {digit} point {digit} kilograms.",
    "The village is {below_hundred} {unit} from {town}.",
    "{few} and {few} make how many?",
    "{few}, {few}, {few}, go!",
    "Turn to page {whole}.",
    "She won {ordinal} prize.",
    "About {below_hundred} per cent of them agreed.",
    "Hello {person}, nice to meet you.",
    "Good {daytime}, {title} {surname}.",
    "Hi {person}! How are you?",
    "Goodbye, {person}. See you on {day}.",
    "Thank you very much, {person}.",
    "Welcome back, {person}!",
    "Happy birthday, {person}!",
    "This is {person} speaking.",
    "My name is {person} {surname}.",
    "I'd like you to meet my {family}, {person}.",
    "Nice to see you again, {title} {surname}.",
    "Excuse me, where is the {thing}?",
    "Do you know where {person} is?",
    "Why is {person} so {feeling}?",
    "When does the {thing} open?",
    "Who told you about the {animal}?",
    "How far is it to {town}?",
    "How old is your {family}?",
    "Would you like some {food}, or just {food}?",
    "Could you help me with the {thing}, please?",
    "Are you {feeling}, {person}?",
    "Is it {weather} in {town} today?",
    "What are you doing {where}?",
    "Have you ever been to {town}?",
    "Did {person} really say that?",
    "What a {praise} {thing}!",
    "That's {praise}!",
    "Oh no, the {animal} is {where}!",
    "Look, a {colour} {animal}!",
    "Be careful, {person}!",
    "Stop it, {person}!",
    "I can't believe it!",
    "How {praise} this {food} is!",
    "Wow, {few} {animal}s {where}!",
    "Hurry up, we're late!",
    "I am {feeling}, but {person} isn't.",
    "The weather will be {weather} tomorrow.",
    "On {day} it was {weather} and {weather}.",
    "My {family} is a {job}.",
    "{person} is {doing} {where}.",
    "I'm {doing}.",
    "We were {doing} when it began to rain.",
    "She {adverb} drinks {food} in the {daytime}.",
    "He {adverb} forgets his keys.",
    "If it's {weather}, we'll stay {where}.",
    "They've been {doing} since {hour} o'clock.",
    "I bought {food}, {food} and {food}.",
    "Yes.",
    "No, thank you.",
    "Yes, of course.",
    "I don't know.",
    "Maybe tomorrow.",
    "Really?",
    "I'm sorry, {person}.",
    "Please sit down.",
    "Let's go to {town}!",
    "Well, {person}, that was {praise}.",
    "Tell me about {town}.",
    "I think the {colour} one is {praise}.",
    "Nobody knows what {person} wants.",
    "You should {adverb} ask your {family}.",
    "The {job} and the {job} are old friends.",
    "{person} lives in a {quality} house near {town}.",
)
